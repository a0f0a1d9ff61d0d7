"""The markers of attempts: the same promises in memory, in a folder, and in a store of objects as S3 is."""

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from services.gateway.adapters.markers import StoredMarkers
from services.gateway.ports import Markers
from shared.errors import DocumentMissingError, MalformedMessageError, UnavailableError
from shared.facts.envelope import Event, new_id
from shared.runtime.documents import DocumentStore, open_store
from tests import examples as an
from tests.fakes.memory_documents import MemoryDocuments
from tests.recording import NOON, begun

Store = MemoryDocuments | DocumentStore


@pytest.fixture(params=["memory", "folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "memory":
            return MemoryDocuments()
        case "folder":
            return DocumentStore(open_store(f"file://{tmp_path}"))
        case _:
            return DocumentStore(MemoryStore())


@pytest.fixture
def markers(store: Store) -> Markers:
    return StoredMarkers(store)


def attempts(count: int) -> list[Event]:
    """Return so many attempts of one flux."""
    last = begun(an.imported)
    attempted = []
    for number in range(1, count + 1):
        last = last.follow(an.attempted.model_copy(update={"attempt": number}), actor="gateway", at=NOON)
        attempted.append(last)
    return attempted


async def test_a_flux_without_markers_has_none(markers: Markers) -> None:
    assert await markers.beyond(new_id(), 0) == []


async def test_markers_come_back_whole_and_in_the_order_of_their_numbers(markers: Markers) -> None:
    attempted = attempts(11)
    for event in reversed(attempted):
        await markers.put(event)
    assert await markers.beyond(attempted[0].flux_id, 0) == attempted
    assert await markers.beyond(attempted[0].flux_id, 9) == attempted[9:]
    assert await markers.beyond(attempted[0].flux_id, 11) == []


async def test_a_flux_has_its_own_markers_alone(markers: Markers) -> None:
    (one,), (other,) = attempts(1), attempts(1)
    await markers.put(one)
    await markers.put(other)
    assert await markers.beyond(one.flux_id, 0) == [one]


async def test_a_marker_is_the_event_of_the_attempt_byte_for_byte(markers: Markers, store: Store) -> None:
    (one,) = attempts(1)
    await markers.put(one)
    assert await store.read_named(f"sent/{one.flux_id}/1") == one.to_bytes()


async def test_what_is_not_a_marker_of_an_attempt_is_not_put(markers: Markers) -> None:
    with pytest.raises(TypeError):
        await markers.put(begun(an.imported))


async def test_a_marker_that_was_cut_off_is_not_passed_over(markers: Markers, store: Store) -> None:
    (one,) = attempts(1)
    await store.put_named(f"sent/{one.flux_id}/1", one.to_bytes()[:-10])
    with pytest.raises(MalformedMessageError):
        await markers.beyond(one.flux_id, 0)


async def test_what_has_no_name_is_missing(store: Store) -> None:
    with pytest.raises(DocumentMissingError):
        await store.read_named("sent/nothing/1")


async def test_a_folder_that_takes_no_marker_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "sent").write_text("a file where the folder should be")
    (one,) = attempts(1)
    with pytest.raises(UnavailableError) as away:
        await StoredMarkers(DocumentStore(open_store(f"file://{tmp_path}"))).put(one)
    assert away.value.party == "documents"
