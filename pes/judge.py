"""Judges one file: reads it, holds it against the schema packs in force, and runs every control. Pure.

1. The bytes are XML that can be read safely; anything else ends here, as "unreadable".
2. The root is PES_Aller.
3. The schema: with the newest pack in force; when it refuses, an older one that is in force may accept. The pack that
   accepted is the one that applied, and the newest when none did.
4. Packs on trial ("shadow") are asked too; what they refuse is a warning, whatever it is.
5. Every control of `controls.CONTROLS`.
6. The policy of the collectivité says how serious each finding is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, islice
from typing import Literal, NamedTuple
from uuid import UUID

from lxml import etree

from pes.controls.catalogue import BY_CODE, CONTROLS
from pes.controls.control import Control
from pes.reader import Unreadable, read_document, unknown_root, wrong_root
from pes.reading.aller import Aller
from pes.reading.contents import bordereaux_of, header_of, must_be_signed
from pes.reading.locations import XPATH_CHARACTERS_MAX, Position, columns_of, where_is
from pes.reading.xml import PES_ALLER
from pes.schemas.judging import Violation, violations
from pes.schemas.packs import CompiledPack
from pes.units import MEBIBYTE
from pes.vocabulary import Bordereau, Finding, Header, Pack, Severity, Where

FINDINGS_MAX = 1000  # of the schema, and of each control: none can drown the others
SCHEMA = "schema"  # the policy's name for all that the schema refuses
SHADOW = "schema.shadow"
ATTACHMENT_BYTES_MAX = 256 * MEBIBYTE

Verdict = Literal["valid", "invalid", "unreadable"]


@dataclass(frozen=True)
class Rules:
    """What a file is judged by.

    Attributes:
        packs: the packs in force, the newest first; at least one.
        shadows: packs on trial.
        policy: how serious a control is, where it is not its default.
    """

    packs: Sequence[CompiledPack]
    shadows: Sequence[CompiledPack] = ()
    policy: Mapping[str, Severity] = field(default_factory=dict)
    attachment_bytes_max: int = ATTACHMENT_BYTES_MAX


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one file.

    Attributes:
        root: the tree, for those who go on with it; none when the file is unreadable or not a PES Aller.
        encoded_bytes: how long the text of each Fichier was, for the tree no longer holds them (`_lighten`).
        pack: the schema pack that applied; none when none was asked.
        repeats: other files that say the same, by the ids of whoever knows of them; the file alone does not tell.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    pack: Pack | None = None
    header: Header | None = None
    bordereaux: tuple[Bordereau, ...] = ()
    attachments: int = 0
    signature_required: bool = False
    repeats: tuple[UUID, ...] = ()
    root: etree._Element | None = field(default=None, repr=False, compare=False)
    encoded_bytes: tuple[int, ...] = field(default=(), repr=False)


def judge(document: bytes, rules: Rules, *, collectivite: str = "", today: date) -> Judgement:
    """Judge one file. Whatever is wrong with it is a finding, never an exception.

    Args:
        document: the bytes as they came; not trusted.
        rules: what to judge by.
        collectivite: the SIREN of the collectivité that it is for; empty when nobody says.
        today: the day of the judgement.
    """
    try:
        prolog, root = read_document(document)
    except Unreadable as unreadable:
        return Judgement("unreadable", (unreadable.finding,))
    if root.tag != PES_ALLER:
        return Judgement("invalid", (wrong_root(root),))
    aller = Aller(document, root, prolog, collectivite, today, rules.attachment_bytes_max)
    encoded_bytes = _lighten(aller, (*rules.packs, *rules.shadows))
    pack, refused = _by_schema(root, rules.packs)
    groups = chain([refused], _by_shadows(root, rules.shadows), _by_controls(aller))
    findings = with_policy(_placed(aller, groups), rules.policy)
    return Judgement(
        verdict=verdict_of(findings),
        findings=tuple(findings),
        pack=pack,
        header=header_of(root),
        bordereaux=bordereaux_of(aller),
        attachments=len(aller.attachments),
        signature_required=must_be_signed(aller),
        root=root,
        encoded_bytes=encoded_bytes,
    )


def judge_by_schema(document: bytes, pack: CompiledPack) -> Judgement:
    """Hold any document that PES v2 knows against one pack, without any other control."""
    try:
        prolog, root = read_document(document)
    except Unreadable as unreadable:
        return Judgement("unreadable", (unreadable.finding,))
    if pack.schema(str(root.tag)) is None:
        return Judgement("invalid", (unknown_root(root),), pack.pack)
    aller = Aller(document, root, prolog, "", date.max, 0)
    refused, left_out = _violations(pack, root)
    findings = _placed(aller, [_Group([_of_schema(one) for one in refused], left_out)])
    return Judgement(verdict_of(findings), tuple(findings), pack.pack, header_of(root), root=root)


def told(name: str, judgement: Judgement) -> dict[str, object]:
    """Return a judgement as it is told, by the API and by the command line."""
    return {
        "file": name,
        "verdict": judgement.verdict,
        "pack": judgement.pack.pack_id if judgement.pack else None,
        "pack_digest": judgement.pack.digest if judgement.pack else None,
        "findings": [finding.model_dump(mode="json") for finding in judgement.findings],
        "header": judgement.header.model_dump() if judgement.header else None,
    }


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict that findings come to."""
    if any(finding.source == "reader" for finding in findings):
        return "unreadable"
    return "invalid" if any(finding.severity == "blocking" for finding in findings) else "valid"


def with_policy(findings: Sequence[Finding], policy: Mapping[str, Severity]) -> list[Finding]:
    """Return findings as serious as the policy says; "schema" stands for every violation of the schema."""
    return [_as_serious(finding, policy) for finding in findings] if policy else list(findings)


def _as_serious(finding: Finding, policy: Mapping[str, Severity]) -> Finding:
    code = SCHEMA if finding.source == "schema" and not finding.code.startswith(SHADOW) else finding.code
    control = BY_CODE.get(code)
    if code not in policy or (control is not None and control.is_fixed):
        return finding
    return finding.model_copy(update={"severity": policy[code]})


class _Found(NamedTuple):
    """A finding, and the element that tells where it is; none when only the line is known."""

    finding: Finding
    element: etree._Element | None


class _Group(NamedTuple):
    """What the schema, or one control, finds; and how much more there is."""

    found: list[_Found]
    left_out: int = 0


def _lighten(aller: Aller, packs: Sequence[CompiledPack]) -> tuple[int, ...]:
    """Take the content of attachments, once inspected, out of the tree; return how long each was.

    They are most of a flux, and libxml2 would look at them again, letter by letter, for what is known already: that
    they are base64. Only what is known stays out, and only if the packs ask for nothing else.
    """
    lengths = tuple(found.encoded_bytes for _, found in aller.inspections)
    if all(pack.takes_any_base64 for pack in packs):
        for file, found in aller.inspections:
            if found.is_base64 and not len(file):
                file.text = None
    return lengths


def _by_schema(root: etree._Element, packs: Sequence[CompiledPack]) -> tuple[Pack | None, _Group]:
    """Return the pack that applied, and what it refuses."""
    of_newest: tuple[list[Violation], int] = ([], 0)
    for pack in packs:
        refused, left_out = _violations(pack, root)
        if not refused:
            return pack.pack, _Group([])
        of_newest = of_newest if of_newest[0] else (refused, left_out)
    refused, left_out = of_newest
    return (packs[0].pack if packs else None), _Group([_of_schema(one) for one in refused], left_out)


def _by_shadows(root: etree._Element, shadows: Sequence[CompiledPack]) -> Iterator[_Group]:
    for shadow in shadows:
        refused, left_out = _violations(shadow, root)
        if refused:
            first, others = refused[0], len(refused) - 1 + left_out
            message = (
                f"Le pack à l’essai « {shadow.pack.pack_id} » refuserait ce flux : {first.message}"
                f"{f' Et {others} autres anomalies.' if others else ''}"
            )
            finding = _schema_finding(first).model_copy(
                update={"code": f"{SHADOW}.{shadow.pack.pack_id}", "severity": "warning", "message": message}
            )
            yield _Group([_Found(finding, first.element)])


def _violations(pack: CompiledPack, root: etree._Element) -> tuple[list[Violation], int]:
    schema = pack.schema(str(root.tag))
    return violations(schema, root, FINDINGS_MAX) if schema is not None else ([], 0)


def _by_controls(aller: Aller) -> Iterator[_Group]:
    for control in CONTROLS:
        if control.find is not None:
            hits = iter(control.find(aller))
            found = [
                _Found(_control_finding(control, hit.message), hit.element) for hit in islice(hits, FINDINGS_MAX)
            ]
            if found:
                yield _Group(found, sum(1 for _ in hits))


def _control_finding(control: Control, message: str) -> Finding:
    return Finding(
        source="control",
        code=control.code,
        severity=control.severity,
        message=message,
        who=control.who,
        next=control.next,
    )


def _of_schema(violation: Violation) -> _Found:
    return _Found(_schema_finding(violation), violation.element)


def _schema_finding(violation: Violation) -> Finding:
    return Finding(
        source="schema",
        code=violation.code,
        severity="blocking",
        message=violation.message,
        where=Where(line=violation.line or None, xpath=violation.xpath[:XPATH_CHARACTERS_MAX]),
        who=violation.who,
        next=violation.next,
        technical=violation.technical,
    )


def _placed(aller: Aller, groups: Iterable[_Group]) -> list[Finding]:
    """Say where each finding is; where some are too many, say how many more there are."""
    kept = list(groups)
    told = [one for group in kept for one in group.found]
    positions = columns_of(aller.document, aller.root, (one.element for one in told if one.element is not None))
    findings = [_with_position(one, positions) for one in told]
    if left_out := sum(group.left_out for group in kept):
        message = f"Et {left_out} autres anomalies comme celles-là, non détaillées."
        findings.append(_control_finding(BY_CODE["pes.many-findings"], message))
    return findings


def _with_position(found: _Found, positions: Mapping[etree._Element, Position]) -> Finding:
    if found.element is None:
        return found.finding
    return found.finding.model_copy(update={"where": where_is(found.element, positions.get(found.element))})
