import io
import os
import tarfile
from pathlib import Path

import pytest

from colorgan.classes import PhotoClasses
from colorgan.data.sources import Source, SourceConfig, find_source
from colorgan.data.sources.candidates import Candidate, MemberCandidate
from colorgan.errors import ColorganError, ConfigError
from colorgan.storage import Storage, open_storage

DOG, CAT, CAR = "n02084071", "n02121808", "n02958343"


def source_of(
    spec: str,
    classes: PhotoClasses | None = None,
    web: dict[str, bytes] | None = None,
    storage: Storage | None = None,
    **options: str,
) -> Source:
    def download(url: str, path: Path) -> None:
        if web is None or url not in web:
            raise ColorganError(f"{url} is gone")
        path.write_bytes(web[url])

    config = SourceConfig(**options)  # type: ignore[arg-type]
    return find_source(f"imagenet:{spec}", config, 286, classes, download, storage)


def archive(wnid: str, count: int = 2) -> bytes:
    """A synset's archive as ImageNet makes it, and what does not belong there."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folder = tarfile.TarInfo("pictures")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number in range(count):
            member = tarfile.TarInfo(f"{wnid}_{number}.JPEG")
            content = f"{wnid} {number}".encode() * (100 * number + 1)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("passwd.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        outside = tarfile.TarInfo("../../outside.JPEG")
        outside.size = 4
        tar.addfile(outside, io.BytesIO(b"here"))
    return data.getvalue()


def read(candidate: Candidate) -> bytes:
    return candidate.read(lambda url: b"")


def listed(source: Source, label: str) -> dict[str, Candidate]:
    return {candidate.source: candidate for candidate in source.candidates(label)}


def test_archives_are_read_in_place(tmp_path: Path) -> None:
    for wnid in (DOG, CAT, CAR):
        (tmp_path / f"{wnid}.tar").write_bytes(archive(wnid))
    before = sorted(tmp_path.parent.rglob("*"))
    source = source_of(f"animals={DOG}+{CAT},vehicles={CAR}", archives=f"{tmp_path}/{{wnid}}.tar")
    assert source.classes == ("animals", "vehicles")
    assert not source.downloads
    cars = listed(source, "vehicles")
    names = (f"{CAR}_0.JPEG", f"{CAR}_1.JPEG", "../../outside.JPEG")
    assert set(cars) == {f"{tmp_path}/{CAR}.tar/{name}" for name in names}
    assert read(cars[f"{tmp_path}/{CAR}.tar/{CAR}_1.JPEG"]) == f"{CAR} 1".encode() * 101
    assert read(cars[f"{tmp_path}/{CAR}.tar/../../outside.JPEG"]) == b"here"
    assert len(listed(source, "animals")) == 6
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_an_archive_that_changes_changes_the_stamps(tmp_path: Path) -> None:
    path = tmp_path / f"{DOG}.tar"
    path.write_bytes(archive(DOG))
    options = {"archives": f"{tmp_path}/{{wnid}}.tar"}
    (first, *_) = source_of(f"animals={DOG}", **options).candidates("animals")
    os.utime(path, ns=(0, 1))
    (again, *_) = source_of(f"animals={DOG}", **options).candidates("animals")
    assert first.source == again.source
    assert first.stamp != again.stamp


def test_archives_at_addresses_go_to_storage_once(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    web = {f"https://a.org/{wnid}?accesskey=secret": archive(wnid) for wnid in (DOG, CAT)}
    spec, template = f"animals={DOG}+{CAT}", "https://a.org/{wnid}?accesskey=secret"
    source = source_of(spec, web=web, storage=storage, archives=template)
    assert "secret" not in source.description
    assert not source.downloads
    found = list(source.candidates("animals"))
    assert all(isinstance(it, MemberCandidate) and it.storage == str(tmp_path) for it in found)
    assert f"{DOG} 1".encode() * 101 in {read(candidate) for candidate in found}
    keys = storage.list()
    assert len(keys) == 2
    assert all(key.startswith("downloads/") and key.endswith(".tar") for key in keys)

    again = source_of(spec, web={}, storage=storage, archives=template)
    assert list(again.candidates("animals")) == found


# Inside a photograph, inside the header after one, between both, and before the end's zeros.
@pytest.mark.parametrize("length", [2500, 2000, 1536, 5120, 0])
def test_a_missing_or_broken_archive_is_counted(length: int, tmp_path: Path) -> None:
    (tmp_path / f"{DOG}.tar").write_bytes(archive(DOG))
    (tmp_path / f"{CAR}.tar").write_bytes(archive(CAR)[:length])
    source = source_of(f"animals={DOG}+{CAT}+{CAR}", archives=f"{tmp_path}/{{wnid}}.tar")
    assert len(listed(source, "animals")) == 3
    assert source.excluded == {"synset without archive": 1, "synset with a broken archive": 1}


def test_a_page_in_an_archives_place_is_not_kept(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    web = {f"http://a.org/{DOG}.tar": b"<html>Please log in</html>" * 100}
    with pytest.raises(ConfigError, match="no photograph of animals in http"):
        source_of(f"animals={DOG}", web=web, storage=storage, archives="http://a.org/{wnid}.tar")
    assert storage.list() == []


def test_a_storage_that_fails_is_no_missing_archive(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "storage"))
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage/downloads").write_text("a file in the folder's place")
    web = {f"http://a.org/{wnid}.tar": archive(wnid) for wnid in (DOG, CAT)}
    with pytest.raises(ColorganError, match="cannot copy"):
        source_of(
            f"animals={DOG}+{CAT}", web=web, storage=storage, archives="http://a.org/{wnid}.tar"
        )


def test_lists_of_addresses_by_synset(tmp_path: Path) -> None:
    # As the service answered: geturls with the addresses alone, getmapping with names.
    service = "http://www.image-net.org/api/text/imagenet.synset.geturls?wnid="
    web = {
        service + DOG: b"http://a.org/1.jpg\r\nhttp://a.org/2.jpg\r\n\r\n",
        service + CAT: f"{CAT}_7 http://a.org/3.jpg\r\n".encode(),
        service + CAR: b"Invalid url!",
    }
    source = source_of(
        f"animals={DOG}+{CAT}+{CAR}+n00000001", web=web, urls_template=service + "{wnid}"
    )
    assert source.downloads
    assert "geturls?wnid={wnid}" in source.description
    assert set(listed(source, "animals")) == {f"http://a.org/{number}.jpg" for number in (1, 2, 3)}
    assert source.excluded == {"not an address": 1, "synset without list": 1}


def test_one_list_of_all_synsets(tmp_path: Path) -> None:
    path = tmp_path / "fall11_urls.txt"
    path.write_bytes(
        b"n00004475_6590\thttp://a.org/0.jpg\n"
        + f"{DOG}_1\thttp://a.org/1.jpg\n{DOG}_2\t\n{CAR}_3\thttp://a.org/".encode()
        + b"\xe4.jpg\n"
    )
    source = source_of(f"animals={DOG}+{CAT},vehicles={CAR}", urls_template=str(path))
    assert set(listed(source, "animals")) == {"http://a.org/1.jpg"}
    assert set(listed(source, "vehicles")) == {"http://a.org/ä.jpg"}
    assert source.excluded == {"not an address": 1, "synset without list": 1}


def test_classes_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "synsets.txt"
    path.write_text(f"# my classes\nanimals\t{DOG}  # dogs\nanimals {CAT}\n\nvehicles {CAR}\n")
    urls = tmp_path / "urls.txt"
    urls.write_text("".join(f"{wnid}_1\thttp://a.org/{wnid}\n" for wnid in (DOG, CAT, CAR)))
    source = source_of(str(path), urls_template=str(urls))
    assert source.classes == ("animals", "vehicles")
    assert len(listed(source, "animals")) == 2


def test_the_projects_own_classes(tmp_path: Path) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("".join(f"{w}_1\thttp://a.org/{w}\n" for w in ("n01440764", "n09468604")))
    classes = PhotoClasses({"fish": ("n01440764",), "valleys": ("n09468604",)}, 0.05, "fish")
    source = source_of("classes", classes, urls_template=str(urls))
    assert source.classes == ("fish", "valleys")
    with pytest.raises(ConfigError, match="no photograph of people"):  # those of classes.toml
        source_of("classes", urls_template=str(urls))


def is_a(tmp_path: Path, *pairs: str) -> str:
    path = tmp_path / "wordnet.is_a.txt"
    path.write_text("".join(f"{pair}\n" for pair in pairs))
    return str(path)


def test_a_synset_stands_for_its_descendants(tmp_path: Path) -> None:
    animal, puppy = "n00015388", "n01322604"
    urls = tmp_path / "urls.txt"
    urls.write_text("".join(f"{w}_1\thttp://a.org/{w}\n" for w in (animal, DOG, puppy, CAR)))
    tree = is_a(
        tmp_path,
        f"{animal} {DOG}",
        f"{DOG} {puppy}",
        f"{animal} {puppy}",
        f"{puppy} {animal}",  # WordNet has had cycles
        "n04524313 n02958343",
    )
    source = source_of(f"animals={animal}", urls_template=str(urls), is_a=tree)
    assert set(listed(source, "animals")) == {f"http://a.org/{w}" for w in (animal, DOG, puppy)}


def test_the_order_has_no_part_of_the_lists(tmp_path: Path) -> None:
    for name, numbers in (("a", range(20)), ("b", reversed(range(20)))):
        lines = [f"{DOG}_{number}\thttp://a.org/{number}.jpg\n" for number in numbers]
        (tmp_path / name).write_text("".join(lines))
    first, second = (
        [
            it.source
            for it in source_of(f"x={DOG}", urls_template=f"{tmp_path}/{name}").candidates("x")
        ]
        for name in "ab"
    )
    assert first == second != sorted(first)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (f"x={DOG}", {}, "no longer answers.*--urls-template.*--archives"),
        (f"x={DOG}", {"urls_template": "a", "archives": "{wnid}"}, "not both"),
        (f"x={DOG}", {"archives": "a.tar"}, r"a\.tar has no {wnid} in it"),
        (f"x={DOG}", {"archives": "/nowhere/{wnid}.tar"}, f"no photograph of x .*{DOG}.tar is not"),
        (
            f"x={DOG}",
            {"urls_template": "/nowhere/{wnid}"},
            f"no photograph of x .*{DOG} is not a f",
        ),
        (f"x={DOG}", {"urls_template": "/nowhere/all"}, "/nowhere/all is not a file"),
        (f"x={DOG}", {"archives": "http://a.org/{wnid}"}, "cannot be downloaded here"),
        (f"x={DOG},y={CAT}+{DOG}", {"archives": "{wnid}"}, f"{DOG} is in x and in y"),
        ("x=n0208407", {"archives": "{wnid}"}, "'n0208407' of x is not a synset"),
        ("x=", {"archives": "{wnid}"}, "'' of x is not a synset"),
        (f"auto={DOG}", {"archives": "{wnid}"}, "'auto' cannot be a class"),
        ("/nowhere/classes.txt", {"archives": "{wnid}"}, "is not a file"),
        ("/dev/null", {"archives": "{wnid}"}, "is not a file"),
        (f"x={DOG}", {"archives": "{wnid}", "is_a": "/nowhere/is_a"}, "/nowhere/is_a: No such"),
    ],
)
def test_what_cannot_be_is_one_sentence(spec: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        source_of(spec, **options)


def test_descendants_of_two_classes_are_refused(tmp_path: Path) -> None:
    tree = is_a(tmp_path, f"n00015388 {DOG}")
    with pytest.raises(ConfigError, match=f"{DOG} is in x and in y"):
        source_of(f"x=n00015388,y={DOG}", archives="{wnid}", is_a=tree)


def test_a_page_in_the_hierarchys_place_is_refused(tmp_path: Path) -> None:
    tree = is_a(tmp_path, "n00015388 n02084071", "<html> 404")
    with pytest.raises(ConfigError, match="line 2 is not two synsets"):
        source_of(f"x={DOG}", archives="{wnid}", is_a=tree)
