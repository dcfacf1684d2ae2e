"""Read a multipart/form-data body (RFC 7578) as it streams in: files to disk, fields to memory, neither spooled."""

from http import HTTPStatus

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from medfake_pacs.console.uploads.names import shown_name
from medfake_pacs.console.uploads.refusals import UploadRefusedError
from medfake_pacs.console.uploads.storing import FileWriter, Folder, StoredFile

FILE_FIELDS = frozenset({"files", "file"})
_FIELD_BYTES = 1024
_MAX_FIELDS = 16


class FormReceiver:
    """Takes a form's bytes piece by piece; ``fields`` and ``files`` are complete after ``finish``."""

    def __init__(self, content_type: str, folder: Folder) -> None:
        """Begin a form of this Content-Type.

        Raises
        ------
        UploadRefusedError
            If it isn't multipart/form-data with a boundary.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise UploadRefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the files as multipart/form-data, each as a field 'files'."
            )
        self.fields: dict[str, str] = {}
        self.files: list[StoredFile] = []
        self._folder = folder
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._writer: FileWriter | None = None
        self._value: bytearray | None = None
        self._field = ""
        self._ignoring = False
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._take_header_name,
                    "on_header_value": self._take_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._take_content,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed() from error

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises
        ------
        UploadRefusedError
            If the form is malformed or beyond a limit.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed() from error

    def finish(self) -> None:
        """Check that the form is complete.

        Raises
        ------
        UploadRefusedError
            If it isn't.
        """
        if not self._ended:
            raise UploadRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "The upload broke off: the form has no end.")

    def close(self) -> None:
        """Close the file that is being written, if any."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > self._folder.limits.max_files + _MAX_FIELDS:
            raise UploadRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form has too many parts.")
        self._disposition = b""
        self._header = (bytearray(), bytearray())

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        if self._header[0].lower() == b"content-disposition":
            self._disposition = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._writer, self._value, self._ignoring = None, None, False
        if b"filename" in options:
            # A form whose file field was left empty sends one file without name and content.
            name = options[b"filename"].decode("utf-8", "replace")
            self._ignoring = self._field not in FILE_FIELDS or not name
            if not self._ignoring:
                self._writer = self._folder.begin(shown_name(name))
        elif self._field and len(self.fields) < _MAX_FIELDS:
            self._value = bytearray()

    def _take_content(self, data: bytes, start: int, end: int) -> None:
        if self._writer is not None:
            self._writer.write(memoryview(data)[start:end])
        elif self._value is not None:
            self._value.extend(data[start:end])
            if len(self._value) > _FIELD_BYTES:
                raise UploadRefusedError(
                    HTTPStatus.UNPROCESSABLE_ENTITY, f"A field of the form may have {_FIELD_BYTES} bytes at most."
                )

    def _end_part(self) -> None:
        if self._writer is not None:
            self.files.append(self._writer.finish())
            self._writer = None
        elif self._value is not None:
            self.fields[self._field] = self._value.decode("utf-8", "replace")
            self._value = None

    def _end(self) -> None:
        self._ended = True


def _malformed() -> UploadRefusedError:
    return UploadRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "The form is malformed: it isn't multipart/form-data.")
