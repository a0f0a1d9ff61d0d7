"""Makes PES_Aller documents to try the platform with, because real ones hold real people's accounts.

Every company, town and account is invented; only the shape and the check digits are genuine. A document
follows from its ``SampleSpec`` alone, byte for byte, and two numbers never share a name or an identifier,
since Hélios refuses duplicates. It is made as a stream, so that a very large one costs no memory.
"""

import hashlib
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final, NamedTuple, TypeVar
from xml.sax.saxutils import quoteattr

# Parsers built on libxml2 stop at a text node of ten million bytes unless told otherwise.
PJ_TEXT_BYTES_MAX: Final = 9_000_000

_NAMESPACE: Final = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller"
_PATTERNS: Final = {
    "siret": r"[0-9]{14}",
    "cod_col": r"(?!000)[0-9]{3}",
    "cod_bud": r"[0-9A-Z][0-9]",
    "id_post": r"02[AB][0-9]{3,4}|(?!0+$)[0-9]{6,7}",
    "nomfic": r"(?!(0+|nc|[ .])$).{1,100}",
}
_RANGES: Final = {
    "number": (1, 99_999),
    "exercice": (2000, 2099),
    "depense_bordereaux": (0, 100),
    "recette_bordereaux": (0, 100),
    "pieces_per_bordereau": (1, 1000),
    "lignes_per_piece": (1, 999),
    "pj_per_piece": (0, 999),
    "pj_bytes": (0, 2**31),
}
_PIECES_MAX: Final = 1000
_SCAN_WIDTH: Final = 32
_PDF_REST_BYTES: Final = 370  # what frames the scan, about
_NOISE_BYTES: Final = 65_536
T = TypeVar("T")


class _Tiers(NamedTuple):
    siret: str
    name: str
    street: str
    postcode: str
    town: str


# No SIREN in use is known to begin with 0, and 99999 (in ``iban_of``) is no known bank: they name nobody.
_TIERS: Final = (
    _Tiers("09900001000019", "Papeterie du Héron Bleu", "12 rue de l'Écluse", "34998", "Brumeval-les-Étangs"),
    _Tiers("09900002800011", "L'Épi Doré & Fils", "3 place du Marché", "34997", "Saint-Aurèle-sur-Vive"),
    _Tiers("09900003600014", "Énergies de la Haute-Vive", "48 avenue des Trois-Ponts", "34996", "Montcendré"),
    _Tiers("09900004400018", "Voirie des Quatre-Chênes", "ZA du Pré-Neuf, bâtiment C", "34995", "Clairvive"),
    _Tiers("09900005100013", "Menuiserie Grande-Ourse", "7 chemin de la Scierie", "34994", "Combe-aux-Geais"),
)
# Nature, fonction, objet.
_DEPENSES: Final = (
    ("60632", "020", "Petit équipement"),
    ("60612", "512", "Électricité de l'éclairage public"),
    ("61521", "511", "Entretien des espaces verts"),
    ("6156", "211", "Maintenance de la chaufferie de l'école"),
)
_RECETTES: Final = (
    ("7062", "311", "Entrées au théâtre municipal"),
    ("752", "551", "Loyers de la halle & du kiosque"),
    ("70323", "020", "Occupation du domaine public"),
)


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Everything a sample follows from; ``ValueError`` if the document could not be valid.

    Two numbers of one budget and exercice never share an identifier, whatever their counts; ``nomfic`` is the
    caller's business. Without any bordereau, the document is the "empty PES" that nobody acknowledges.
    """

    number: int = 1
    siret: str = "21349990800019"
    cod_col: str = "123"
    cod_bud: str = "00"
    id_post: str = "034990"
    exercice: int = 2026
    depense_bordereaux: int = 1
    recette_bordereaux: int = 0
    pieces_per_bordereau: int = 2
    lignes_per_piece: int = 1
    pj_per_piece: int = 1
    pj_bytes: int = 4_000  # of each PDF before it is compressed, to within a few tens; 900 is the least
    is_dematerialised: bool = True
    has_bordereau_ids: bool = True  # without them, the whole document is signed at once
    nomfic: str | None = None

    def __post_init__(self) -> None:
        for name, pattern in _PATTERNS.items():
            value = getattr(self, name)
            if value is not None and not (re.fullmatch(pattern, value) and value.isprintable()):
                raise ValueError(f"{name}: {value!r} is not of the form {pattern}")
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: {getattr(self, name)} is not between {least} and {most}")
        if max(self.depense_bordereaux, self.recette_bordereaux) * self.pieces_per_bordereau > _PIECES_MAX:
            raise ValueError(f"pieces_per_bordereau: a domain holds {_PIECES_MAX} pièces at most")

    @property
    def budget(self) -> str:
        """What identifiers are unique within: collectivité, budget and exercice."""
        return f"{self.siret}{self.cod_col}{self.cod_bud}{self.exercice}"

    @property
    def name(self) -> str:
        """The NomFic: the one asked for, or one that no other number of the budget has."""
        return self.nomfic or f"PESALR1_{self.budget}_{self.number:05d}"

    @property
    def emitted_on(self) -> date:
        """A day of the exercice, from February on."""
        return date(self.exercice, 2, 1) + timedelta(days=self.number % 300)


def luhn_key(digits: str) -> str:
    """Return the digit that completes a SIREN (from 8 digits) or a SIRET (from 13)."""
    doubled = (2 * int(digit) for digit in digits[::-2])
    total = sum(value // 10 + value % 10 for value in doubled) + sum(map(int, digits[-2::-2]))
    return str(-total % 10)


def siret_of(siren: str, establishment: int = 1) -> str:
    """Return the SIRET of one establishment of ``siren``."""
    digits = f"{siren}{establishment:04d}"
    return digits + luhn_key(digits)


def iban_of(account: int) -> str:
    """Return the IBAN of an account, of at most 11 digits, at a French bank that does not exist."""
    rib = f"9999900001{account:011d}"
    rib += f"{97 - int(rib + '00') % 97:02d}"
    return f"FR{98 - int(rib + '152700') % 97:02d}{rib}"  # F counts as 15 and R as 27


def iter_sample(spec: SampleSpec) -> Iterator[bytes]:
    """Yield the document bit by bit, encoded as it declares: ISO-8859-1."""
    for text in _document(spec):
        yield text.encode("iso-8859-1", "xmlcharrefreplace")


def build_sample(spec: SampleSpec) -> bytes:
    """Return the whole document; for a large one, ``write_sample`` needs no memory."""
    return b"".join(iter_sample(spec))


def write_sample(path: Path, spec: SampleSpec) -> int:
    """Write the document as it is made, and return its size in bytes."""
    with path.open("wb") as file:
        return sum(map(file.write, iter_sample(spec)))


def large_spec(bytes_total: int, spec: SampleSpec | None = None) -> SampleSpec:
    """Return a spec whose document has ``bytes_total`` bytes within 1 %, in PJ that ordinary parsers accept.

    It has one bordereau of dépense, with one PJ per pièce; whatever else ``spec`` says is kept. Steps are
    coarser than 1 % below 20 kB.

    Raises:
        ValueError: too few bytes for one PJ, or too many for as many PJ as there can be pièces.
    """
    pieces = -(-bytes_total // PJ_TEXT_BYTES_MAX)
    bare = replace(
        spec or SampleSpec(),
        depense_bordereaux=1,
        recette_bordereaux=0,
        pieces_per_bordereau=pieces,
        pj_per_piece=1,
        pj_bytes=0,
    )
    spare = bytes_total - sum(map(len, iter_sample(bare)))
    if spare < 0:
        raise ValueError(f"bytes_total: {bytes_total} is less than the least, {bytes_total - spare}")
    smallest_pdf = sum(map(len, _pdf("", "", 0)))
    return replace(bare, pj_bytes=smallest_pdf + spare * 3 // 4 // pieces)  # base64 writes 3 bytes as 4


def write_large(path: Path, bytes_total: int, spec: SampleSpec | None = None) -> int:
    """Write the document of ``large_spec``, and return its exact size in bytes."""
    return write_sample(path, large_spec(bytes_total, spec))


@dataclass(frozen=True)
class _Piece:
    """One mandat or titre: what it is called, and what it draws instead of chance."""

    spec: SampleSpec
    letter: str
    id_pce: int

    def draw(self, key: object, below: int) -> int:
        seed = f"{self.spec.budget} {self.letter} {self.id_pce} {key}".encode()
        return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest()) % below

    def pick(self, items: Sequence[T]) -> T:
        return items[self.draw(items, below=len(items))]

    def cents(self) -> list[int]:
        """The amount of each ligne."""
        return [self.draw(ligne, below=500_000) + 1 for ligne in range(self.spec.lignes_per_piece)]

    def pjs(self) -> Iterator[tuple[str, str]]:
        """The IdUnique and NomPJ of each PJ."""
        for rank in range(self.spec.pj_per_piece):
            id_unique = f"{self.spec.budget}{self.letter}{self.id_pce:08d}{rank:03d}"
            yield id_unique, f"Pièce {self.id_pce}-{rank + 1}.pdf"

    def pj_refs(self) -> str:
        refs = (_v("Support", "01") + _v("IdUnique", pj) + _v("NomPJ", name) for pj, name in self.pjs())
        return "".join(_block("PJRef", ref) for ref in refs)


@dataclass(frozen=True)
class _Domaine:
    """What sets dépense and recette apart."""

    letter: str
    element: str
    header: str
    amount: str
    type_pj: str
    write: Callable[[_Piece], str]

    def bordereaux(self, spec: SampleSpec) -> Iterator[tuple[int, list[_Piece]]]:
        """The IdBord and the pièces of each bordereau."""
        size = spec.pieces_per_bordereau
        count = spec.depense_bordereaux if self.letter == "D" else spec.recette_bordereaux
        for index in range(count):
            first = spec.number * _PIECES_MAX + index * size
            pieces = [_Piece(spec, self.letter, id_pce) for id_pce in range(first, first + size)]
            yield spec.number * 100 + index, pieces


def _v(name: str, value: object) -> str:
    return f"<{name} V={quoteattr(str(value))}/>"


def _block(name: str, *children: str) -> str:
    return f"\n<{name}>{''.join(children)}</{name}>"


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _document(spec: SampleSpec) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
    yield f'<n:PES_Aller xmlns:n="{_NAMESPACE}" Id="PES{spec.budget}{spec.number:05d}">'
    file = _v("Version", 2) + _v("TypFic", "PESALR1") + _v("NomFic", spec.name)
    issuer = _v("Sigle", "Heliotrope") + _v("Adresse", "Jeu d'essai, données fictives")
    yield _block("Enveloppe", _block("Parametres", file), _block("Emetteur", issuer))
    poste = _v("IdPost", spec.id_post) + _v("LibellePoste", "Trésorerie de Brumeval")
    budget = _v("IdColl", spec.siret) + _v("CodCol", spec.cod_col) + _v("CodBud", spec.cod_bud)
    label = _v("LibelleColBud", "Commune de Brumeval-les-Étangs")
    yield _block("EnTetePES", _v("DteStr", spec.emitted_on), poste, budget, label)
    for domaine in (_DEPENSE, _RECETTE):
        yield from _accounts(spec, domaine)
    if spec.pj_per_piece and spec.depense_bordereaux + spec.recette_bordereaux:
        yield "\n<PES_PJ>" + _block("EnTetePES_PJ", _v("IdVer", 1))
        for domaine in (_DEPENSE, _RECETTE):
            yield from _pjs(spec, domaine)
        yield "\n</PES_PJ>"
    yield "\n</n:PES_Aller>\n"


def _accounts(spec: SampleSpec, domaine: _Domaine) -> Iterator[str]:
    bordereaux = list(domaine.bordereaux(spec))
    if not bordereaux:
        return
    yield f"\n<{domaine.element}>"
    yield _block(domaine.header, _v("IdVer", 2), _v("InfoDematerialisee", int(spec.is_dematerialised)))
    cumul = spec.number * 100_000_000  # stands for what earlier numbers came to
    for id_bord, pieces in bordereaux:
        total = sum(sum(piece.cents()) for piece in pieces)
        cumul += total
        xml_id = f' Id="{domaine.letter}{spec.budget}{id_bord:07d}"' if spec.has_bordereau_ids else ""
        yield f"\n<Bordereau{xml_id}>"
        when = _v("Exer", spec.exercice) + _v("IdBord", id_bord) + _v("DteBordEm", spec.emitted_on)
        size = _v("TypBord", "01") + _v("NbrPce", len(pieces))
        amounts = _v("MtCumulAnnuel", _euros(cumul)) + _v(domaine.amount, _euros(total))
        yield _block("BlocBordereau", when, size, amounts)
        yield from map(domaine.write, pieces)
        yield "\n</Bordereau>"
    yield f"\n</{domaine.element}>"


def _mandat(piece: _Piece) -> str:
    nature, fonction, objet = piece.pick(_DEPENSES)
    tiers = piece.pick(_TIERS)
    iban = _v("IBAN", iban_of(int(tiers.siret[:9])))
    account = _block("CpteBancaire", iban, _v("LibBanc", "Banque de l'Étang"), _v("TitCpte", tiers.name))
    info = _v("IdPce", piece.id_pce) + _v("TypPce", "01") + _v("NatPce", "01") + _v("Obj", objet)
    info = _block("InfoPce", info, piece.pj_refs())
    text = _v("Nature", nature) + _v("Fonction", fonction) + _v("LibVir1", f"Facture {piece.id_pce}")
    text += _v("ModRegl", "03") + _v("TVAIntraCom", 0)
    return _piece(info, _lignes(piece, "InfoLignePce", text, _tiers(tiers, role="", account=account)))


def _titre(piece: _Piece) -> str:
    nature, fonction, objet = piece.pick(_RECETTES)
    info = _v("IdPce", piece.id_pce) + _v("TypPce", "01") + _v("NatPce", "01")
    info += _v("Edition", "04") + _v("ObjPce", objet) + piece.pj_refs()
    text = _v("CodProdLoc", "DIV1") + _v("Nature", nature) + _v("Fonction", fonction)
    text += _v("Majo", 0) + _v("TvaIntraCom", 0)
    tiers = _tiers(piece.pick(_TIERS), role=_v("TypTiers", "01"), account="")
    return _piece(info, _lignes(piece, "InfoLignePiece", text, tiers))


_DEPENSE: Final = _Domaine("D", "PES_DepenseAller", "EnTeteDepense", "MtBordHT", "003", _mandat)
_RECETTE: Final = _Domaine("R", "PES_RecetteAller", "EnTeteRecette", "MtBordHt", "002", _titre)


def _piece(info: str, lignes: Iterable[str]) -> str:
    return _block("Piece", _block("BlocPiece", info), *lignes)


def _lignes(piece: _Piece, element: str, text: str, tiers: str) -> Iterator[str]:
    for ligne, cents in enumerate(piece.cents(), start=1):
        info = _block(element, _v("IdLigne", ligne), text, _v("MtHT", _euros(cents)))
        yield _block("LigneDePiece", _block("BlocLignePiece", info), tiers)


def _tiers(tiers: _Tiers, *, role: str, account: str) -> str:
    identity = _v("IdTiers", tiers.siret) + _v("NatIdTiers", "01") + _v("CatTiers", "50") + _v("NatJur", "03")
    where = _v("TypAdr", 1) + _v("Adr2", tiers.street) + _v("CP", tiers.postcode) + _v("Ville", tiers.town)
    info = _block("InfoTiers", identity, role, _v("Nom", tiers.name))
    return _block("Tiers", info, _block("Adresse", where, _v("CodRes", 0)), account)


def _pjs(spec: SampleSpec, domaine: _Domaine) -> Iterator[str]:
    for piece in (piece for _, pieces in domaine.bordereaux(spec) for piece in pieces):
        for id_unique, name in piece.pjs():
            yield '\n<PJ><Contenu><Fichier MIMEType="application/pdf">'
            yield from _packed(_pdf(name, id_unique, spec.pj_bytes))
            yield "</Fichier></Contenu>" + _v("IdUnique", id_unique) + _v("NomPJ", name)
            yield _v("TypePJ", domaine.type_pj) + _v("Description", f"Justificatif fictif : {name}") + "</PJ>"


def _packed(content: Iterable[bytes]) -> Iterator[str]:
    """Compress and encode as the standard asks for: gzip, then base64."""
    gzip = zlib.compressobj(level=1, wbits=31)  # 31 is the gzip format; its date stays at zero
    rest = b""
    for chunk in content:
        rest += gzip.compress(chunk)
        whole = len(rest) - len(rest) % 3
        yield b64encode(rest[:whole]).decode("ascii")
        rest = rest[whole:]
    yield b64encode(rest + gzip.flush()).decode("ascii")


def _pdf(title: str, seed: str, bytes_total: int) -> Iterator[bytes]:
    """Yield one page: a title, and a "scan" of noise, which compression cannot make smaller either."""
    drawing = f"BT /F 14 Tf 60 780 Td <{title.encode('cp1252').hex()}> Tj ET"
    drawing += " q 475 0 0 600 60 120 cm /Scan Do Q"
    resources = "<< /Font << /F 5 0 R >> /XObject << /Scan 6 0 R >> >>"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources {resources} >>",
        f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    )
    head = "%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(head))
        head += f"{number} 0 obj\n{body}\nendobj\n"
    offsets.append(len(head))
    rows = max(1, (bytes_total - len(head) - _PDF_REST_BYTES) // _SCAN_WIDTH)
    length = rows * _SCAN_WIDTH
    head += f"6 0 obj\n<< /Type /XObject /Subtype /Image /Width {_SCAN_WIDTH} /Height {rows}"
    head += f" /ColorSpace /DeviceGray /BitsPerComponent 8 /Length {length} >>\nstream\n"
    yield head.encode("ascii")
    for start in range(0, length, _NOISE_BYTES):
        noise = hashlib.shake_128(f"{seed} {start}".encode())
        yield noise.digest(min(_NOISE_BYTES, length - start))
    tail = "\nendstream\nendobj\n"
    xref = len(head) + length + len(tail)
    entries = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    tail += f"xref\n0 7\n0000000000 65535 f \n{entries}"
    yield f"{tail}trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n".encode()
