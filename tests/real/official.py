"""DGFiP's schemas and files of other software, read where they lie beside the project: nothing is copied into it."""

from pathlib import Path

from lxml import etree

from tests.real.missing import missing

OFFICIAL = Path(__file__).parents[3] / "shared" / "official"
ALLER = "PES_Aller.xsd"
ACQUIT = "PES_V2_Acquit_Autonome_V2.xsd"


def official(name: str) -> Path:
    """Return where a file or a folder is; without it, skip the test, or fail it where nothing may be skipped."""
    path = OFFICIAL / name
    if not path.exists():
        missing(f"{name} is not part of the project: put it in ../shared/official")
    return path


def official_sample(name: str = "PES_signed_bordereau_xades122_sha256.xml") -> bytes:
    return official(f"samples/{name}").read_bytes()


def official_schema(name: str = ALLER) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(official(f"schemas_pes.v5.12/PES_V2/Rev0/{name}")))
