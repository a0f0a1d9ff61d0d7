"""Where the local platform keeps what it writes."""

from pathlib import Path

from local.folder import choose_folder


def test_the_folder_asked_for_comes_before_the_environment(tmp_path: Path) -> None:
    environ = {"HELIOTROPE_DATA": str(tmp_path / "environment")}
    assert choose_folder(tmp_path / "asked", environ).root == tmp_path / "asked"
    assert choose_folder(None, environ).root == tmp_path / "environment"
