"""The document store: the same promises by the stand-in in memory and by a real folder."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.errors import CorruptDocumentError, DocumentMissingError, TooLargeError, UnavailableError
from shared.facts.values import Document
from shared.runtime.documents import DocumentStore, open_store, path_of
from tests.fakes.memory_documents import MemoryDocuments

CONTENT = bytes(range(256)) * 10_000  # more than one piece of a stream
DIGEST = hashlib.sha256(CONTENT).hexdigest()
Spoil = Callable[[str, bytes], None]


@pytest.fixture(params=["memory", "folder"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[MemoryDocuments | DocumentStore, Spoil]:
    """Return a store, and what changes a document behind its back."""
    if request.param == "memory":
        memory = MemoryDocuments()
        return memory, memory.contents.__setitem__

    def spoil(sha256: str, content: bytes) -> None:
        (tmp_path / path_of(sha256)).write_bytes(content)

    return DocumentStore(open_store(f"file://{tmp_path}")), spoil


@pytest.fixture
def documents(parts: tuple[MemoryDocuments | DocumentStore, Spoil]) -> MemoryDocuments | DocumentStore:
    return parts[0]


@pytest.fixture
def folder(tmp_path: Path) -> DocumentStore:
    return DocumentStore(open_store(f"file://{tmp_path}"))


async def pieces(content: bytes, *, cut: Exception | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]
    if cut is not None:
        raise cut


def files_of(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one byte", "large"])
async def test_what_is_stored_is_read_back_byte_for_byte(
    documents: MemoryDocuments | DocumentStore, content: bytes
) -> None:
    document = await documents.put_bytes(content)
    assert document == Document(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    assert await documents.read(document.sha256) == content
    assert b"".join([piece async for piece in documents.stream(document.sha256)]) == content


async def test_the_same_bytes_twice_are_one_document(documents: MemoryDocuments | DocumentStore) -> None:
    assert await documents.put_bytes(CONTENT) == await documents.put_bytes(CONTENT)
    assert await documents.read(DIGEST) == CONTENT


async def test_a_document_that_is_not_there_is_missing(documents: MemoryDocuments | DocumentStore) -> None:
    with pytest.raises(DocumentMissingError) as missing:
        await documents.read("e" * 64)
    assert missing.value.sha256 == "e" * 64
    with pytest.raises(DocumentMissingError):
        [piece async for piece in documents.stream("e" * 64)]


@pytest.mark.parametrize("changed", [CONTENT[:-1], CONTENT + b"x", b"", b"X" + CONTENT[1:]])
async def test_a_document_that_was_changed_is_never_read_as_good(
    parts: tuple[MemoryDocuments | DocumentStore, Spoil], changed: bytes
) -> None:
    documents, spoil = parts
    await documents.put_bytes(CONTENT)
    spoil(DIGEST, changed)
    with pytest.raises(CorruptDocumentError):
        await documents.read(DIGEST)
    with pytest.raises(CorruptDocumentError):
        [piece async for piece in documents.stream(DIGEST)]


async def test_bytes_stored_as_they_come_are_the_same_document(folder: DocumentStore) -> None:
    assert await folder.put(pieces(CONTENT), bytes_max=len(CONTENT)) == await folder.put_bytes(CONTENT)
    assert await folder.read(DIGEST) == CONTENT


async def test_one_byte_too_many_leaves_nothing(folder: DocumentStore, tmp_path: Path) -> None:
    with pytest.raises(TooLargeError) as refused:
        await folder.put(pieces(CONTENT), bytes_max=len(CONTENT) - 1)
    assert refused.value.bytes_max == len(CONTENT) - 1
    assert files_of(tmp_path) == []


async def test_an_upload_that_is_cut_off_leaves_nothing(folder: DocumentStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cut"):
        await folder.put(pieces(CONTENT, cut=ValueError("cut")), bytes_max=2 * len(CONTENT))
    assert files_of(tmp_path) == []


async def test_a_store_that_cannot_write_is_unavailable(folder: DocumentStore, tmp_path: Path) -> None:
    (tmp_path / "documents").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError) as away:
        await folder.put_bytes(CONTENT)
    assert away.value.party == "documents"
