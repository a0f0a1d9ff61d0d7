"""Schema packs: folders of XSD files that say what a PES may look like. Data, not code (helios.md 2.8).

Packs come from outside, so they are read with care: a folder or a ZIP archive gives nothing but its XSD files, within
bounds, and a schema that points anywhere but into its own pack is refused. `compile_pack` turns one into schemas.
"""

import hashlib
import io
import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lxml import etree

from pes.reading.xml import ACQUIT_V1, ACQUIT_V2, ALLER
from pes.units import MEBIBYTE
from pes.vocabulary import Pack

FILES_MAX = 500
FILE_BYTES_MAX = 4 * MEBIBYTE
PACK_BYTES_MAX = 32 * MEBIBYTE
ARCHIVE_BYTES_MAX = 16 * MEBIBYTE

BUILT_IN = "heliotrope-5.12"
PES_ALLER = f"{{{ALLER}}}PES_Aller"
# The documents that a pack may judge, by the tag of their root (helios.md 2.1, 7).
ROOTS = (
    PES_ALLER,
    f"{{{ACQUIT_V1}}}PES_ACQUIT",
    f"{{{ACQUIT_V2}}}PES_ACQUIT",
    f"{{{ACQUIT_V1}}}PES_Retour",
    f"{{{ALLER}/ack}}PES_ACQUIT_RETOUR",
)

_XSD = "{http://www.w3.org/2001/XMLSchema}"
_SCHEME = "pack"


class PackError(ValueError):
    """This folder or archive cannot be a schema pack; the message, in French, is for whoever installs it."""


class PackFileError(OSError):
    """A schema asks for a file that is not in its pack. libxml2 is told that there is none."""


@dataclass(frozen=True)
class PackFiles:
    """The files of one pack, by their path inside it; nothing says yet that they make schemas."""

    pack_id: str
    files: Mapping[str, bytes] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the list of files and of what they hold, as 64 hexadecimal digits."""
        lines = (f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in sorted(self.files.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def pack(self) -> Pack:
        """How facts name this pack."""
        return Pack(pack_id=self.pack_id, digest=self.digest)

    def archive(self) -> bytes:
        """Return the files as a ZIP archive, which `read_archive` reads back."""
        into = io.BytesIO()
        with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in sorted(self.files.items()):
                archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
        return into.getvalue()


def built_in() -> PackFiles:
    """Return the pack that comes with the platform."""
    folder = files("pes.schemas") / BUILT_IN
    return PackFiles(BUILT_IN, {one.name: one.read_bytes() for one in folder.iterdir() if one.name.endswith(".xsd")})


def read_pack(path: Path, pack_id: str = "") -> PackFiles:
    """Read a pack from a folder or a ZIP archive; its id is the name without the extension unless given.

    Raises:
        PackError: it is neither, or holds what a pack may not hold.
        OSError: it cannot be read.
    """
    name = pack_id or (path.resolve().stem if path.is_file() else path.resolve().name)
    if path.is_dir():
        return PackFiles(name, _checked(_in_folder(path)))
    size = path.stat().st_size
    if size > ARCHIVE_BYTES_MAX:
        raise PackError(f"L’archive fait {size} octets ; un pack en fait {ARCHIVE_BYTES_MAX} au plus.")
    return read_archive(path.read_bytes(), name)


def read_archive(content: bytes, pack_id: str) -> PackFiles:
    """Read a pack from a ZIP archive that nobody vouches for.

    Raises:
        PackError: not a ZIP, or one that holds links, paths that lead out of it, or too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return PackFiles(pack_id, _checked(_in_archive(archive)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise PackError(f"L’archive n’est pas un ZIP lisible ({error}).") from error


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise PackError(f"« {inside} » est un lien : un pack ne contient que des fichiers.")
        if path.suffix.lower() == ".xsd" and path.is_file():
            if path.stat().st_size > FILE_BYTES_MAX:
                raise _file_too_large(inside)
            yield inside, path.read_bytes()


def _in_archive(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    entries = archive.infolist()
    if len(entries) > 10 * FILES_MAX:
        raise PackError(f"L’archive contient {len(entries)} entrées : ce n’est pas un pack de schémas.")
    for entry in entries:
        path = entry.filename.replace("\\", "/")
        if path.startswith("/") or ":" in path or ".." in path.split("/") or not path.isprintable():
            raise PackError(f"L’archive contient un chemin interdit : {ascii(entry.filename)[:200]}.")
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PackError(f"« {path} » est un lien ou un fichier spécial : un pack ne contient que des fichiers.")
        if entry.is_dir() or not path.lower().endswith(".xsd"):
            continue
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PackError(f"« {path} » est compressé d’une manière inhabituelle : refaites l’archive.")
        with archive.open(entry) as file:
            yield posixpath.normpath(path), _bounded(file.read(FILE_BYTES_MAX + 1), path)


def _bounded(content: bytes, path: str) -> bytes:
    if len(content) > FILE_BYTES_MAX:
        raise _file_too_large(path)
    return content


def _file_too_large(path: str) -> PackError:
    return PackError(f"« {path} » dépasse {FILE_BYTES_MAX} octets : ce n’est pas un schéma.")


def _checked(found: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    kept: dict[str, bytes] = {}
    total = 0
    for path, content in found:
        total += len(content)
        if path in kept:
            raise PackError(f"« {path} » y est deux fois.")
        if len(kept) == FILES_MAX or total > PACK_BYTES_MAX:
            raise PackError(f"Plus de {FILES_MAX} schémas ou de {PACK_BYTES_MAX} octets : ce n’est pas un pack.")
        kept[path] = content
    if not kept:
        raise PackError("Aucun fichier .xsd : ce n’est pas un pack de schémas.")
    return kept


class CompiledPack:
    """The schemas of one pack, by the root that they judge; each is compiled when it is first needed."""

    def __init__(self, pack: PackFiles) -> None:
        """Find the entries of a pack.

        Raises:
            PackError: a file is not a schema, or no file declares a root that we know.
        """
        self.pack = pack.pack
        self.pack_files = pack
        self._files = pack.files
        self._entries = _entries(pack.files)
        self._schemas: dict[str, etree.XMLSchema] = {}
        if PES_ALLER not in self._entries:
            raise PackError("Aucun schéma du pack ne déclare PES_Aller.")

    @cached_property
    def takes_any_base64(self) -> bool:
        """True when the content of a PJ may be any base64, of any length: nothing else is to be judged in it."""
        found = [element for content in self._files.values() for element in _named(content, "Fichier")]
        return bool(found) and all(_holds_base64(element) for element in found)

    @property
    def roots(self) -> tuple[str, ...]:
        """The tags of the roots that this pack can judge."""
        return tuple(self._entries)

    def schema(self, root: str) -> etree.XMLSchema | None:
        """Return the schema for documents with this root; none when the pack has none.

        Raises:
            PackError: the schema does not compile.
        """
        if root not in self._entries:
            return None
        if root not in self._schemas:
            self._schemas[root] = self._compiled(self._entries[root])
        return self._schemas[root]

    def _compiled(self, entry: str) -> etree.XMLSchema:
        parser = _parser()
        parser.resolvers.add(_Inside(self._files))
        try:
            return etree.XMLSchema(etree.parse(_url_of(entry), parser))
        except (etree.XMLSchemaParseError, etree.XMLSyntaxError, OSError) as error:
            raise PackError(f"« {entry} » ne se compile pas : {error}") from error


def compile_pack(pack: PackFiles) -> CompiledPack:
    """Compile every schema of a pack now, so that whatever is wrong with it is known now.

    Raises:
        PackError: it cannot judge a PES Aller, or one of its schemas does not compile.
    """
    compiled = CompiledPack(pack)
    for root in compiled.roots:
        compiled.schema(root)
    return compiled


def _entries(found: Mapping[str, bytes]) -> dict[str, str]:
    """Return which file declares each root that we know; the shortest path when there are several."""
    entries: dict[str, str] = {}
    for path in sorted(found, key=lambda one: (one.count("/"), len(one), one)):
        try:
            schema = etree.fromstring(found[path], _parser())
        except etree.XMLSyntaxError as error:
            raise PackError(f"« {path} » n’est pas un schéma lisible : {error}") from error
        _refuse_external(schema, path)
        if schema.tag != f"{_XSD}schema":
            raise PackError(f"« {path} » n’est pas un schéma XML.")
        namespace = schema.get("targetNamespace", "")
        for element in schema.iterchildren(f"{_XSD}element"):
            root = f"{{{namespace}}}{element.get('name', '')}"
            if root in ROOTS:
                entries.setdefault(root, path)
    return {root: entries[root] for root in ROOTS if root in entries}


def _named(content: bytes, name: str) -> list[etree._Element]:
    return [one for one in etree.fromstring(content, _parser()).iter(f"{_XSD}element") if one.get("name") == name]


def _holds_base64(element: etree._Element) -> bool:
    extension = element.find(f"{_XSD}complexType/{_XSD}simpleContent/{_XSD}extension")
    if extension is None:
        return False
    prefix, _, name = extension.get("base", "").rpartition(":")
    return (extension.nsmap.get(prefix or None), name) == (_XSD[1:-1], "base64Binary")


def _refuse_external(schema: etree._Element, path: str) -> None:
    """Refuse a schema whose own DTD declares entities that lie elsewhere; the W3C's schemas declare plain ones."""
    dtd = schema.getroottree().docinfo.internalDTD
    for entity in dtd.iterentities() if dtd is not None else ():
        if entity.system_url:
            raise PackError(f"« {path} » déclare une entité externe : il est refusé.")


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )


class _Inside(etree.Resolver):
    """Gives libxml2 the files of one pack, and nothing else of this machine or of the network."""

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._files = found

    def resolve(  # type: ignore[override]  # its stubs keep the types of documents to themselves
        self, system_url: str | None, public_id: str | None, context: object
    ) -> object:
        path = _path_of(system_url or "")
        if path not in self._files:
            raise PackFileError(f"{system_url or public_id} is not in the pack")
        return self.resolve_string(self._files[path], context, base_url=_url_of(path))


def _url_of(path: str) -> str:
    return f"{_SCHEME}:///{quote(path)}"


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return posixpath.normpath(unquote(parts.path)).lstrip("/") if parts.scheme == _SCHEME else ""
