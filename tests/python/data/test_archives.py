"""Tar archives made to hang their reader, or to use up memory."""

import gzip
import io
import signal
import tarfile
import zipfile

import pytest

from archives import make_tar
from dnnh import limits
from dnnh.data import archives
from dnnh.errors import UserError


@pytest.fixture(autouse=True)
def _at_most_twenty_seconds():
    def stop(*arguments):
        pytest.fail("the reader hangs")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def header(name="a", size=0, kind=tarfile.REGTYPE, original_size=None):
    """The 512 bytes of a member's header, whatever size it claims."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if original_size is not None:  # of a sparse file, as old versions of GNU tar wrote it
        block[483:495] = b"%011o " % original_size
        block[148:156] = b"        "
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


PAX = b"13 size=-512\n"

NEGATIVE = {
    "a file": header(size=-512),
    "a sparse file": header(size=-512, kind=tarfile.GNUTYPE_SPARSE, original_size=100),
    "a long name": header(size=-512, kind=tarfile.GNUTYPE_LONGNAME),
    "an extended header": header(size=-512, kind=tarfile.XHDTYPE),
    "a size in an extended header": header(size=len(PAX), kind=tarfile.XHDTYPE)
    + PAX.ljust(512, b"\0")
    + header(),
}


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("member", NEGATIVE.values(), ids=NEGATIVE)
def test_a_negative_size_is_refused(tmp_path, member, compress):
    """The reader would go back to the member's own header, again and again."""
    (tmp_path / "a.tar").write_bytes(compress(header("b") + member + header("c") + bytes(1024)))
    with pytest.raises(UserError, match="a.tar is neither a folder nor a whole tar.* size"):
        archives.open_archive(tmp_path / "a.tar")


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "tar.gz"])
def test_a_damaged_header_is_not_the_end(tmp_path, compress):
    damaged = b"x" + header("b")[1:]
    (tmp_path / "a.tar").write_bytes(compress(header("a") + damaged + header("c") + bytes(1024)))
    with pytest.raises(UserError, match="a header is damaged"):
        archives.open_archive(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path, monkeypatch, kind):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header("a", 40_000_000, kind) + bytes(40_000_000)))
    sizes = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda file, size=-1: sizes.append(size) or read(file, size)
    )
    with pytest.raises(UserError, match="a member has a header of 40,000,512 bytes"):
        archives.open_archive(path)
    assert max(sizes) <= 512


def test_a_member_with_headers_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TAR_HEADER_BYTES", 10_000)
    name = header(size=5, kind=tarfile.GNUTYPE_LONGNAME) + b"name\0".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(20 * name + header() + bytes(1024))
    with pytest.raises(UserError, match="a member has a header of 10,"):
        archives.open_archive(tmp_path / "a.tar")


def test_a_sparse_file_that_claims_to_be_stored_in_many_bytes(tmp_path):
    sparse = header(size=10**12, kind=tarfile.GNUTYPE_SPARSE, original_size=100)
    (tmp_path / "a.tar").write_bytes(sparse + bytes(2048))
    with pytest.raises(UserError, match="a header has an impossible size"):
        archives.open_archive(tmp_path / "a.tar")


def test_more_members_than_any_data_set_has(tmp_path, monkeypatch):
    make_tar(tmp_path / "a.tar.gz", [(f"{i}.png", b"") for i in range(1000)])
    with archives.open_archive(tmp_path / "a.tar.gz") as archive:
        assert len(archive.members) == 1000
    monkeypatch.setattr(limits, "TAR_HEADERS_BYTES", 100_000)
    with pytest.raises(UserError, match="more than 100,000 bytes, more members than any data set"):
        archives.open_archive(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_every_kind_of_tar(tmp_path, mode, tar_format):
    """Long names, folders and links among the members."""
    contents = {"a/" + 40 * "b" + f"/{50 * 'c'}{i}": bytes([i]) * 1000 * i for i in range(9)}
    with tarfile.open(tmp_path / "a", mode, format=tar_format) as tar:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with archives.open_archive(tmp_path / "a") as archive:
        assert archive.members == list(contents)
        assert dict(archive.read_all(contents)) == contents
        last, first = list(contents)[-1], next(iter(contents))
        assert (archive.read(last), archive.read(first)) == (contents[last], contents[first])


def test_a_zip_member_without_a_name(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        nameless = zipfile.ZipInfo("b.png")
        nameless.filename = ""
        monkeypatch.setattr(zipfile.ZipInfo, "is_dir", lambda info: False)  # fails for it
        file.writestr(nameless, b"nameless")
        file.writestr("b.png", b"b")
    monkeypatch.undo()
    with archives.open_archive(tmp_path / "a.zip") as opened:
        assert opened.members == ["b.png"]
        assert opened.read("b.png") == b"b"


def test_archives_that_decompress_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ARCHIVE_BYTES", 1_000_000)
    with tarfile.open(tmp_path / "a.tar.bz2", "w:bz2") as file:
        for i in range(3):
            member = tarfile.TarInfo(f"{i}.png")
            member.size = 600_000
            file.addfile(member, io.BytesIO(bytes(600_000)))
    with pytest.raises(UserError, match="a.tar.bz2 .*more than 1,000,000 bytes"):
        archives.open_archive(tmp_path / "a.tar.bz2")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(3):
            file.writestr(f"{i}.png", bytes(600_000))
    with (
        archives.open_archive(tmp_path / "a.zip") as opened,
        pytest.raises(UserError, match="a.zip is larger than 1,000,000 bytes"),
    ):
        list(opened.read_all(opened.members))


def test_shadows_of_macos_files_are_passed_over(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("train/cat/a.png", "__MACOSX/train/cat/._a.png", "train/cat/.DS_Store"):
            file.writestr(name, b"x")
    with archives.open_archive(tmp_path / "a.zip") as opened:
        assert opened.members == ["train/cat/a.png"]
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in ("./train/cat/a.png", "./train/cat/._a.png"):
            file.addfile(tarfile.TarInfo(name))
    with archives.open_archive(tmp_path / "a.tar") as opened:
        assert opened.members == ["./train/cat/a.png"]


@pytest.mark.parametrize("is_zip64", [False, True])
def test_a_zip_with_a_huge_directory(tmp_path, monkeypatch, is_zip64):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10 if is_zip64 else 1 << 16)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(100):
            file.writestr(f"{i}.png", b"")
    if is_zip64:  # as archives of more than 4 GB have it
        data = path.read_bytes()
        at = data.rfind(b"PK\x05\x06")
        path.write_bytes(data[: at + 12] + b"\xff" * 4 + data[at + 16 :])
    with archives.open_archive(path) as opened:
        assert len(opened.members) == 100
    monkeypatch.setattr(limits, "TAR_HEADERS_BYTES", 3000)
    with pytest.raises(UserError, match="a.zip: its directory is larger than 3,000 bytes"):
        archives.open_archive(path)
