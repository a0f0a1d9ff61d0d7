"""Lists are read on a narrow screen as well: what tells flux apart is whole."""

from io import StringIO

import pytest
from rich.console import Console

from cli.commands.sending import flux

ROW = {
    "flux_id": "01a21099-07c4-7514-aff3-55f93e58bde6",
    "on_screen": "Acquitté partiellement",
    "filename": "exemple-00001.xml",
    "nomfic": "PESALR2_21349990800019_261125_0001",
    "collectivite": "213499908",
    "size": 13_312,
    "imported_at": "2026-11-25T02:46:34.180000Z",
}


NARROW = ("Flux", "État", "NomFic")


def shown(width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    page = StringIO()
    screen = Console(width=width, file=page, color_system=None)
    monkeypatch.setattr(flux, "console", lambda: screen)
    screen.print(flux._list_of([ROW]))  # what the command shows
    return page.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_list_of_flux_tells_which_in_what_state_under_what_name(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, *lines = shown(width, monkeypatch)
    assert all(len(line) <= width for line in lines)
    starts = [head.index(column) for column in NARROW]
    columns = [
        ("" if name == "NomFic" else " ").join(line[start:end].strip() for line in lines).strip()
        for name, start, end in zip(NARROW, starts, [*starts[1:], width], strict=True)
    ]
    assert columns == [ROW["flux_id"], ROW["on_screen"], ROW["nomfic"]]


def test_a_wide_list_tells_more(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "\n".join(shown(200, monkeypatch))
    for name in ("flux_id", "on_screen", "filename", "nomfic", "collectivite"):
        assert str(ROW[name]) in told
