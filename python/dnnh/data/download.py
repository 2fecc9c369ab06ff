"""Official archives: downloaded once, resumed where a download stopped, verified."""

import dataclasses
import http.client
import pathlib
import urllib.error
import urllib.request

from tqdm import tqdm

from dnnh import atomic_files, files, paths
from dnnh.data import mnist, svhn
from dnnh.errors import UserError

CHUNK = 1 << 18
TIMEOUT = 30  # seconds without a byte


class WrongFile(Exception):
    """The server offers another file than the archive."""


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file to download."""

    url: str
    md5: str  # as published beside the archive
    size: int  # bytes

    @property
    def file(self) -> str:
        """Its name."""
        return self.url.rsplit("/", 1)[-1]


_SVHN = "http://ufldl.stanford.edu/housenumbers"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"  # as LeCun published them

# A data set is one archive, or several files.
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cifar10": (
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            170_052_171,
        ),
    ),
    "mnist": tuple(
        Archive(f"{_MNIST}/{name}.gz", mnist.MD5[name], size)
        for name, size in (
            ("train-images-idx3-ubyte", 9_912_422),
            ("train-labels-idx1-ubyte", 28_881),
            ("t10k-images-idx3-ubyte", 1_648_877),
            ("t10k-labels-idx1-ubyte", 4_542),
        )
    ),
    "svhn": tuple(
        Archive(f"{_SVHN}/{name}", svhn.MD5[name], size)
        for name, size in (
            ("train_32x32.mat", 182_040_794),
            ("extra_32x32.mat", 1_329_278_602),
            ("test_32x32.mat", 64_275_384),
        )
    ),
}


def fetch(name: str, url: str | None = None) -> pathlib.Path:
    """Download a data set's archive to ``data/``, or its files to ``data/<name>/``.

    Each is verified. A download that stopped half-way is resumed. A file that is there
    already and verified is not fetched again.

    Parameters
    ----------
    name : str
        A key of ARCHIVES.
    url : str, optional
        Another address of the same archive (a mirror), or of the folder of the files.

    Returns
    -------
    pathlib.Path of the verified archive, or of the folder of the files.

    Raises
    ------
    UserError
        If the server cannot be reached, stops early, or sends another file.
    """
    archives = ARCHIVES[name]
    if len(archives) == 1:
        return _fetch(name, archives[0], url or archives[0].url, paths.DATA)
    folder = paths.DATA / name
    for archive in archives:
        _fetch(name, archive, f"{url}/{archive.file}" if url else archive.url, folder)
    return folder


def _fetch(name: str, archive: Archive, url: str, folder: pathlib.Path) -> pathlib.Path:
    path = folder / archive.file
    by_hand = (
        f"or get the archive another way and run 'python tools/get_data.py {name} --from ARCHIVE'"
    )
    if path.exists():
        md5 = files.md5(path)
        if md5 == archive.md5:
            return path
        raise UserError(
            f"{path} has md5 {md5}, not the published {archive.md5}; "
            "delete it to fetch it again, or read it as it is with --from"
        )
    partial = path.with_name(path.name + ".partial")
    folder.mkdir(parents=True, exist_ok=True)
    size = partial.stat().st_size if partial.exists() else 0
    if size > archive.size:
        partial.unlink()
        size = 0
    if size < archive.size:
        atomic_files.check_room(path, archive.size - size, folder)
        try:
            _download(url, partial, size, archive.size)
        except WrongFile as error:  # a portal's page, or an error page
            raise UserError(f"{error}; it was not fetched. Try again, {by_hand}") from error
        except urllib.error.HTTPError as error:
            if error.code == 416:  # it cannot resume here
                partial.unlink(missing_ok=True)
            raise UserError(
                f"{url} could not be fetched ({error}); try again, {by_hand}"
            ) from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise UserError(
                f"{url} could not be fetched ({error}); run the same "
                f"command again to resume, {by_hand}"
            ) from error
    size = partial.stat().st_size
    if size < archive.size:
        raise UserError(
            f"{url} stopped after {size:,} of {archive.size:,} bytes; run "
            f"the same command again to resume, {by_hand}"
        )
    md5 = files.md5(partial)
    if size != archive.size or md5 != archive.md5:
        partial.unlink()
        raise UserError(
            f"{url} gave {size:,} bytes with md5 {md5}, not "
            f"{archive.size:,} with {archive.md5}; it was deleted. Try "
            f"again, {by_hand}"
        )
    partial.replace(path)
    return path


def _download(url: str, partial: pathlib.Path, size: int, full_size: int) -> None:
    """Append what ``partial``, of ``size`` bytes, lacks; or write it from the start."""
    request = urllib.request.Request(url)
    if size:
        request.add_header("Range", f"bytes={size}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != 206:  # the server starts from the beginning
            size = 0
        announced = response.headers.get("Content-Length")
        if announced is not None and size + int(announced) != full_size:
            raise WrongFile(f"{url} has {size + int(announced):,} bytes, the archive {full_size:,}")
        with (
            partial.open("ab" if size else "wb") as file,
            tqdm(
                total=full_size,
                initial=size,
                unit="B",
                unit_scale=True,
                desc=f"fetching {partial.stem}",
            ) as progress,
        ):
            # A byte too many shows that it is a wrong file.
            while size <= full_size and (chunk := response.read(CHUNK)):
                file.write(chunk)
                size += len(chunk)
                progress.update(len(chunk))
