"""The document store: bytes written once under their SHA-256, checked at each reading. A folder, or S3.

Facts carry the digest and the size, never the bytes (a claim check). Nothing here ever changes or deletes a
document.

Beside the documents lie bytes under a name: what must be known where no restore of the database reaches.
"""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, S3Store

from shared.errors import CorruptDocumentError, DocumentMissingError, TooLargeError, UnavailableError
from shared.facts.values import Document

CHUNK_BYTES = 1024 * 1024
# S3 refuses parts under 5 MiB; two at a time bound the memory of one upload to about 12 MiB.
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 2


@contextmanager
def _in_our_words(sha256: str = "") -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise DocumentMissingError(sha256) from error
    except (BaseError, OSError) as error:
        raise UnavailableError("documents", type(error).__name__) from error


def open_store(
    url: str, *, endpoint: str = "", access_key: str = "", secret_key: str = "", region: str = "us-east-1"
) -> ObjectStore:
    """Return the object store that a URL names: `file:///folder` (made if absent) or `s3://bucket`."""
    if url.startswith("file://"):
        folder = Path(url.removeprefix("file://"))
        folder.mkdir(parents=True, exist_ok=True)
        return LocalStore(folder)
    options: dict[str, str] = {"access_key_id": access_key, "secret_access_key": secret_key, "region": region}
    if endpoint:
        options |= {"endpoint": endpoint}
    return S3Store.from_url(
        url,
        client_options={"allow_http": endpoint.startswith("http://")},
        **options,  # type: ignore[arg-type]  # obstore types these keywords one by one
    )


def path_of(sha256: str) -> str:
    """Return where a document lies in the store."""
    return f"documents/{sha256[:2]}/{sha256}"


async def bounded(chunks: AsyncIterable[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    """Yield bytes as they come, and raise `TooLargeError` as soon as they are more than `bytes_max`."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise TooLargeError(bytes_max)
        yield chunk


class DocumentStore:
    """See the module."""

    def __init__(self, store: ObjectStore) -> None:
        """Keep documents in this object store."""
        self._store = store

    async def put(self, chunks: AsyncIterable[bytes], *, bytes_max: int) -> Document:
        """Store bytes as they come, in bounded memory, and return what they turned out to be.

        They lie under a temporary name until they are complete, so a cut-off upload leaves no document.

        Raises:
            TooLargeError: more than `bytes_max` bytes came.
            UnavailableError: the store did not take them.
        """
        digest = hashlib.sha256()
        size = 0
        incoming = f"incoming/{uuid4().hex}"
        with _in_our_words():
            try:
                async with obstore.open_writer_async(
                    self._store, incoming, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
                ) as writer:
                    async for chunk in bounded(chunks, bytes_max):
                        size += len(chunk)
                        digest.update(chunk)
                        await writer.write(chunk)
            except BaseException:
                await self._discard(incoming)
                raise
            document = Document(sha256=digest.hexdigest(), size=size)
            await obstore.rename_async(self._store, incoming, path_of(document.sha256))
        return document

    async def put_bytes(self, content: bytes) -> Document:
        """Store bytes that are in memory already."""
        document = Document(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        with _in_our_words():
            await obstore.put_async(self._store, path_of(document.sha256), content)
        return document

    async def read(self, sha256: str) -> bytes:
        """Return a document whole.

        Raises:
            DocumentMissingError: there is none under this digest.
            CorruptDocumentError: it no longer has the bytes it was stored with.
            UnavailableError: the store does not answer.
        """
        with _in_our_words(sha256):
            result = await obstore.get_async(self._store, path_of(sha256))
            content = bytes(await result.bytes_async())
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptDocumentError(sha256)
        return content

    async def stream(self, sha256: str) -> AsyncIterator[bytes]:
        """Yield a document piece by piece; raises `CorruptDocumentError` *after* the last piece if it changed."""
        digest = hashlib.sha256()
        with _in_our_words(sha256):
            result = await obstore.get_async(self._store, path_of(sha256))
            async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                digest.update(chunk)
                yield bytes(chunk)
        if digest.hexdigest() != sha256:
            raise CorruptDocumentError(sha256)

    async def put_named(self, name: str, content: bytes) -> None:
        """Store bytes under a name like `sent/1/2`; whoever writes one sees to it that nobody else does."""
        with _in_our_words():
            await obstore.put_async(self._store, name, content)

    async def read_named(self, name: str) -> bytes:
        """Return the bytes under a name.

        Raises:
            DocumentMissingError: there are none.
            UnavailableError: the store does not answer.
        """
        with _in_our_words(name):
            return bytes(await (await obstore.get_async(self._store, name)).bytes_async())

    async def names_under(self, folder: str) -> list[str]:
        """Return what follows `folder` and a slash in the names right under it, in no order."""
        with _in_our_words():
            found = await obstore.list_with_delimiter_async(self._store, f"{folder}/")
        return [one["path"].removeprefix(f"{folder}/") for one in found["objects"]]

    async def check(self) -> None:
        """Return if the store answers; raise `UnavailableError` if not."""
        with _in_our_words():
            await obstore.list_with_delimiter_async(self._store, "health/")

    async def _discard(self, path: str) -> None:
        try:
            await obstore.delete_async(self._store, path)
        except (BaseError, OSError):
            return  # it was never written, or the store is away: nothing names this path
