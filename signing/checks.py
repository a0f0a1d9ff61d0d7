"""What is checked of the signatures of a PES, in order: each check has a number, a code and a source.

Sources: ``helios.md`` is in docs; "XMLDSig" is W3C's recommendation, "XAdES" is ETSI TS 101 903 1.2.2,
"RFC 5280" and "RFC 6960" are those of certificates. The list at the end of docs/signature.md is printed from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pes.vocabulary import Finding, Severity, Where, Who

_SIGN_AGAIN: Final = (
    "Repartez du fichier d’origine, faites-le signer de nouveau, puis déposez-le : rien n’est transmis."
)
_ASK_HOST: Final = (
    "Votre hébergeur tient la liste des autorités admises et des révocations ; hors ligne, donnez-la avec --trust."
)
_OTHER_CERTIFICATE: Final = "Signez avec un autre certificat, en cours de validité et fait pour signer."
_KNOW: Final = "Rien à faire : la signature est recevable, mais sachez-le."


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        number: its place in the order of checks; stable, as is `code`.
        severity: how serious it usually is; where a check says two things, the message does.
        checks: what is checked, in French.
        source: who asks for it.
        who: who can act, and `next` how (French).
    """

    number: int
    code: str
    severity: Severity
    checks: str
    source: str
    who: Who = "ordonnateur"
    next: str = _SIGN_AGAIN

    def finding(
        self, element_id: str, message: str, *, severity: Severity | None = None, line: int | None = None
    ) -> Finding:
        """Return what there is to say of one signature; `message` is a French sentence."""
        return Finding(
            source="control",
            code=self.code,
            severity=severity or self.severity,
            message=message,
            where=Where(element="Bordereau" if element_id else "", bordereau=element_id, line=line),
            who=self.who,
            next=_KNOW if (severity or self.severity) == "warning" and self.next != _ASK_HOST else self.next,
        )


READABLE = Check(
    0,
    "signature.unreadable",
    "blocking",
    "Le fichier est un PES Aller en XML lisible, sans DOCTYPE",
    "helios.md 12",
    next="Déposez à nouveau le fichier produit par le logiciel financier.",
)
PLACEMENT = Check(
    1,
    "signature.placement",
    "blocking",
    "Chaque signature est seule dans un bordereau d’un domaine, ou à la racine",
    "helios.md 5.2 ; schéma PES (PESSignatureType)",
)
IDENTIFIERS = Check(
    2,
    "signature.id",
    "blocking",
    "La signature a un Id ; les Id auxquels elle renvoie sont portés par un seul élément",
    "helios.md 5.7, S2LOW 2 ; XMLDSig 4.4.3.2",
)
STRUCTURE = Check(
    3,
    "signature.structure",
    "blocking",
    "Elle contient ce que prévoit le PES et rien d’autre, sans commentaire",
    "helios.md 5.3, 5.4 ; schéma PES (Class_Signature)",
)
ALGORITHM = Check(
    4,
    "signature.algorithm",
    "blocking",
    "Canonicalisation exclusive, RSA ou ECDSA, SHA-2 (ou la forme SHA-1 d’avant 2018)",
    "helios.md 5.3, 5.4, 5.7",
)
REFERENCE = Check(
    5,
    "signature.reference",
    "blocking",
    "Elle couvre l’élément qui la contient et ses propres propriétés, et rien d’autre",
    "helios.md 5.3, 5.7 (XML signature wrapping)",
)
TRANSFORMS = Check(
    6,
    "signature.transforms",
    "blocking",
    "Les transformations sont « enveloped-signature » puis la canonicalisation exclusive",
    "helios.md 5.3",
)
TIME = Check(
    7,
    "signature.time",
    "blocking",
    "La date de signature est donnée en temps universel, et n’est pas à venir",
    "helios.md 5.3, 5.7",
)
CERTIFICATE = Check(
    8,
    "signature.certificate",
    "blocking",
    "Le certificat joint est lisible, et c’est celui que désignent les propriétés signées",
    "helios.md 5.3, 5.7 ; XAdES 7.2.2",
)
KEY = Check(
    9,
    "signature.key",
    "blocking",
    "La clé est une clé RSA d’au moins 2048 bits, ou ECDSA sur une courbe P-256, P-384 ou P-521",
    "RGS, annexe B1",
    next=_OTHER_CERTIFICATE,
)
CONTENT = Check(
    10, "signature.content", "blocking", "Le contenu signé n’a pas changé depuis la signature", "XMLDSig 3.2.1"
)
PROPERTIES = Check(
    11, "signature.properties", "blocking", "Les propriétés signées n’ont pas changé depuis", "XMLDSig 3.2.1"
)
VALUE = Check(
    12, "signature.value", "blocking", "La valeur est celle que calcule la clé du certificat", "XMLDSig 3.2.2"
)
COMMENT = Check(
    13,
    "signature.comment",
    "warning",
    "Aucun commentaire ne coupe un texte signé : la signature ne protège pas les commentaires",
    "XML-EXC-C14N 1.1",
)
SHA1_ERA = Check(
    14, "signature.sha1-era", "warning", "La signature n’est pas de la forme SHA-1 d’avant 2018", "helios.md 5.4"
)
POLICY = Check(
    15,
    "signature.policy",
    "warning",
    "Elle désigne une politique de signature connue, avec son empreinte",
    "helios.md 5.5, 5.7",
)
ROLE = Check(16, "signature.role", "warning", "Elle dit à quel titre elle est donnée", "helios.md 5.3, 5.7")
ISSUER_NAME = Check(
    17,
    "signature.issuer-name",
    "warning",
    "Elle nomme l’autorité du certificat comme le certificat la nomme",
    "helios.md 5.3, 5.7",
)
VALIDITY = Check(
    18,
    "signature.validity",
    "blocking",
    "Le certificat était valable à la date de signature",
    "RFC 5280 4.1.2.5",
    next=_OTHER_CERTIFICATE,
)
CHAIN = Check(
    19,
    "signature.chain",
    "blocking",
    "Le certificat remonte à une autorité de la liste de confiance, à la date de signature",
    "helios.md 5.7 ; RFC 5280 6",
    who="hébergeur",
    next=_ASK_HOST,
)
USAGE = Check(
    20,
    "signature.usage",
    "blocking",
    "Le certificat sert à signer : nonRepudiation attendu, et ce n’est pas celui d’une autorité",
    "helios.md 5.7 ; RFC 5280 4.2.1.3",
    next=_OTHER_CERTIFICATE,
)
REVOCATION = Check(
    21,
    "signature.revocation",
    "blocking",
    "Ni le certificat ni ceux de ses autorités n’étaient révoqués",
    "RFC 5280 5 ; RFC 6960",
    next=_ASK_HOST,
)
COVERAGE = Check(
    22,
    "signature.incomplete",
    "blocking",
    "À défaut de signature globale, chaque bordereau est signé",
    "helios.md 5.7",
    next="Faites signer les bordereaux qui manquent : la DGFiP refuserait le fichier en l’état.",
)
MANDATE = Check(
    23,
    "signature.mandate",
    "blocking",
    "Le signataire avait un mandat pour cette collectivité à la date de signature",
    "registre des mandats de la plateforme",
    next="L’administrateur de la collectivité enregistre le mandat avec ce certificat ; puis annulez ce flux, et "
    "importez de nouveau le fichier.",
)

ALL: Final = (
    READABLE,
    PLACEMENT,
    IDENTIFIERS,
    STRUCTURE,
    ALGORITHM,
    REFERENCE,
    TRANSFORMS,
    TIME,
    CERTIFICATE,
    KEY,
    CONTENT,
    PROPERTIES,
    VALUE,
    COMMENT,
    SHA1_ERA,
    POLICY,
    ROLE,
    ISSUER_NAME,
    VALIDITY,
    CHAIN,
    USAGE,
    REVOCATION,
    COVERAGE,
    MANDATE,
)

_NUMBERS: Final = {check.code: check.number for check in ALL}


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of the checks."""
    return sorted(findings, key=lambda finding: _NUMBERS[finding.code])
