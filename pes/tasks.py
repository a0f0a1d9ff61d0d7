"""What a worker process does: it judges one file, or takes one attachment out of it, and answers.

A worker is where hostile bytes are parsed, so it may die of them; nothing here reaches the network, the journal or
the document store. Files come and go through a folder that only the service reads.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from lxml import etree

from pes.difference import differences, index_differences
from pes.judge import ATTACHMENT_BYTES_MAX, Judgement, Rules, judge
from pes.reader import Unreadable, read_document
from pes.reading.attachments import AttachmentError, extract
from pes.schemas.packs import BUILT_IN, CompiledPack, PackError, PackFiles, built_in, compile_pack
from pes.synthese import Json, read_synthese, to_json
from pes.vocabulary import Severity

PACKS_MAX = 8  # compiled at a time; a platform has two or three

_compiled: dict[str, CompiledPack] = {}


@dataclass(frozen=True)
class JudgeTask:
    """A file to judge.

    Attributes:
        path: where its bytes are.
        packs: the digests of the packs in force, the newest first; empty for the one that comes with the platform.
        shadows: the digests of the packs on trial.
        known: the files of the packs, by digest, that the worker may not have seen yet.
    """

    path: Path
    collectivite: str
    today: date
    packs: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()
    known: Mapping[str, PackFiles] = field(default_factory=dict, repr=False)
    policy: Mapping[str, Severity] = field(default_factory=dict)
    attachment_bytes_max: int = ATTACHMENT_BYTES_MAX
    with_synthese: bool = True


@dataclass(frozen=True)
class Judged:
    """A judgement (without its tree), and the synthèse as JSON: its index, and its pages in order."""

    judgement: Judgement
    index: bytes = b""
    pages: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ExtractTask:
    """An attachment to take out of a file: the PJ at `position` (from 1), written to `into`."""

    path: Path
    position: int
    into: Path
    bytes_max: int = ATTACHMENT_BYTES_MAX


@dataclass(frozen=True)
class Extract:
    """What was taken out; `fault` says why nothing was: `missing`, or as `attachments.Fault`."""

    fault: str = ""
    name: str = ""
    mime: str = ""
    size: int = 0
    sha256: str = ""


def judge_file(task: JudgeTask) -> Judged:
    """Judge a file and read its synthèse."""
    document = task.path.read_bytes()
    rules = Rules(
        packs=[_pack(digest, task.known) for digest in task.packs or (_built_in_digest(),)],
        shadows=[_pack(digest, task.known) for digest in task.shadows],
        policy=task.policy,
        attachment_bytes_max=task.attachment_bytes_max,
    )
    judgement = judge(document, rules, collectivite=task.collectivite, today=task.today)
    root, judgement = judgement.root, replace(judgement, root=None)
    if root is None or not task.with_synthese:
        return Judged(judgement)
    synthese = read_synthese(root, judgement.encoded_bytes)
    return Judged(judgement, to_json(synthese.index), synthese.pages)


def extract_file(task: ExtractTask) -> Extract:
    """Take one attachment out of a file."""
    try:
        _, root = read_document(task.path.read_bytes())
    except Unreadable:
        return Extract("missing")
    found = root.findall("PES_PJ/PJ")[task.position - 1 : task.position]
    file = found[0].find("Contenu/Fichier") if found else None
    if file is None:
        return Extract("missing")
    try:
        with task.into.open("wb") as into:
            taken = extract(file.text, into.write, bytes_max=task.bytes_max)
    except AttachmentError as error:
        task.into.unlink(missing_ok=True)
        return Extract(error.fault)
    return Extract("", _name(found[0]), file.get("MIMEType", ""), taken.size, taken.sha256)


def _name(attachment: etree._Element) -> str:
    name = attachment.find("NomPJ")
    return "" if name is None else name.get("V", "")


def _built_in_digest() -> str:
    for digest, pack in _compiled.items():
        if pack.pack.pack_id == BUILT_IN:
            return digest
    files = built_in()
    return _kept(CompiledPack(files)).pack.digest


def _pack(digest: str, known: Mapping[str, PackFiles]) -> CompiledPack:
    if digest in _compiled:
        return _compiled[digest]
    if digest in known:
        return _kept(CompiledPack(known[digest]))
    _built_in_digest()
    return _compiled[digest]


def _kept(pack: CompiledPack) -> CompiledPack:
    while len(_compiled) >= PACKS_MAX:
        del _compiled[next(iter(_compiled))]
    _compiled[pack.pack.digest] = pack
    return pack


@dataclass(frozen=True)
class ExtractAllTask:
    """Every attachment of a file, each to be written into a folder under its number."""

    path: Path
    into: Path
    bytes_max: int = ATTACHMENT_BYTES_MAX


def extract_all(task: ExtractAllTask) -> int:
    """Take every attachment out of a file, and return how many there are; what cannot be opened is left out."""
    try:
        _, root = read_document(task.path.read_bytes())
    except Unreadable:
        return 0
    count = 0
    for file in root.iter("Fichier"):
        count += 1
        place = task.into / str(count)
        try:
            with place.open("wb") as into:
                extract(file.text, into.write, bytes_max=task.bytes_max)
        except AttachmentError:
            place.unlink(missing_ok=True)  # the control says why
    return count


@dataclass(frozen=True)
class CompareTask:
    """Two versions to compare: the index and the pages of their synthèses."""

    old_index: Json
    old: tuple[bytes, ...]
    new_index: Json
    new: tuple[bytes, ...]


def compare(task: CompareTask) -> bytes:
    """Return the difference of two versions, as JSON."""
    of_pieces = differences(_pieces(task.old), _pieces(task.new))
    return to_json(index_differences(task.old_index, task.new_index) | of_pieces)


def _pieces(pages: Iterable[bytes]) -> Iterator[Json]:
    for page in pages:
        yield from json.loads(page)


def compile_files(pack: PackFiles) -> str:
    """Compile a pack that nobody vouches for, and return what is wrong with it (French); empty when nothing is."""
    try:
        compile_pack(pack)
    except PackError as error:
        return str(error)
    return ""
