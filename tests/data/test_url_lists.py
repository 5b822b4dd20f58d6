import random
from pathlib import Path

import pytest

from colorgan.data.sources import Source, SourceConfig, find_source
from colorgan.data.sources.candidates import Candidate, UrlCandidate
from colorgan.data.sources.files import is_address, local_file, without_secrets
from colorgan.errors import ConfigError

# Lines as those of ImageNet's fall11_urls.txt: a tab, Latin-1 among UTF-8, spaces, and no address.
FALL_2011 = (
    b"n00004475_6590\thttp://farm4.static.flickr.com/3175/2737866473_7958dc8760.jpg\r\n"
    b"n02084071_1\thttp://www.hundeseite.de/bilder/Schn\xe4uzer 2.jpg\n"
    b"n02084071_2\thttp://example.com/caf\xc3\xa9.jpg\n"
    b"n02084071_3\t\n"
    b"n02084071_4\thttp://[broken/a.jpg\n"
    b"\n"
)


def source_of(spec: str, **options: object) -> Source:
    return find_source(f"urls:{spec}", SourceConfig(**options), 286)  # type: ignore[arg-type]


def listed(source: Source, label: str, split: str | None = None) -> list[Candidate]:
    return list(source.candidates(label, split))


def urls(source: Source, label: str, split: str | None = None) -> set[str]:
    return {candidate.source for candidate in listed(source, label, split)}


def test_a_folder_holds_a_list_a_class(tmp_path: Path) -> None:
    (tmp_path / "animals.txt").write_bytes(FALL_2011)
    (tmp_path / "people.tsv").write_text("1\thttp://a.org/1.jpg\n2\thttps://a.org/2.jpg\n")
    (tmp_path / "vehicles.csv").write_text("\ufeffhttp://b.org/1.jpg\r\n# cars\r\n")
    (tmp_path / "README.md").write_text("what these lists are")
    source = source_of(str(tmp_path))
    assert source.classes == ("animals", "people", "vehicles")
    assert source.downloads
    assert not source.has_splits
    assert urls(source, "animals") == {
        "http://farm4.static.flickr.com/3175/2737866473_7958dc8760.jpg",
        "http://www.hundeseite.de/bilder/Schnäuzer 2.jpg",
        "http://example.com/café.jpg",
    }
    assert urls(source, "people") == {"http://a.org/1.jpg", "https://a.org/2.jpg"}
    assert urls(source, "vehicles") == {"http://b.org/1.jpg"}
    assert source.excluded == {"not an address": 2}


def test_a_line_has_an_address_alone_or_after_a_name(tmp_path: Path) -> None:
    path = tmp_path / "animals.txt"
    # The service that mapped names to addresses put a space between them.
    path.write_text(
        "n02084071_1 http://a.org/1.jpg\r\n  HTTPS://a.org/2.jpg  \n# http://a.org/3.jpg\n"
        "The synset is not ready yet. Please stay tuned!\nftp://a.org/4.jpg\n"
        "http://a.org/5.jpg http://a.org/6.jpg\n"
    )
    source = source_of(str(path))
    assert source.classes == ("animals",)
    assert urls(source, "animals") == {
        "http://a.org/1.jpg",
        "HTTPS://a.org/2.jpg",
        "http://a.org/5.jpg http://a.org/6.jpg",
    }
    assert source.excluded == {"not an address": 2}


def test_a_table_names_class_licence_and_split(tmp_path: Path) -> None:
    path = tmp_path / "photographs.csv"
    path.write_text(
        "\ufeffid,URL,Title,license,split,label\r\n"
        '1,http://a.org/1.jpg,"A dog, and\r\n""its"" cat",CC BY 2.0,train,animals\r\n'
        "# the rest is newer,,,,,\r\n"
        "2,http://a.org/2.jpg,,,validation,people\r\n"
        "3,http://a.org/3.jpg,,,test,\r\n"
        "4,http://a.org/4.jpg,,,later,people\r\n"
        "5,,,,test,people\r\n"
        "6\r\n"
    )
    source = source_of(str(path))
    assert source.classes == ("animals", "people")
    assert source.has_splits
    (dog,) = listed(source, "animals", "train")
    assert (dog.source, dog.licence, dog.split) == ("http://a.org/1.jpg", "CC BY 2.0", "train")
    assert urls(source, "people", "val") == {"http://a.org/2.jpg"}
    assert not urls(source, "people", "train")
    assert source.excluded == {"of no class": 1, "in no split": 1, "not an address": 2}


def test_a_table_without_classes_is_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "boats.tsv"
    path.write_text("title\turl\nA 'boat'\thttp://a.org/1.jpg\n")
    assert urls(source_of(str(path)), "boats") == {"http://a.org/1.jpg"}


def test_lists_can_be_given_their_classes(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"list {number}.txt").write_text(f"http://a.org/{number}.jpg\n")
    table = tmp_path / "table.csv"
    table.write_text("url,class\nhttp://a.org/4.jpg,cats\n")
    spec = ",".join(
        f"{label}={tmp_path}/{name}"
        for label, name in (
            ("animals", "list 1.txt"),
            ("people", "list 2.txt"),
            ("animals", "list 3.txt"),
            ("animals", "table.csv"),
        )
    )
    source = source_of(spec)
    assert source.classes == ("animals", "people")
    assert urls(source, "animals") == {f"http://a.org/{number}.jpg" for number in (1, 3, 4)}


TABLE = "URL;Class;split\r\nhttp://a.org/1,2.jpg;Käfer;train\r\nhttp://a.org/3.jpg;Käfer;Valid\r\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *(
            ("photos.csv", TABLE.encode(encoding))
            for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
        ),
        ("photos.csv", TABLE.encode("latin-1")),
        ("photos.csv", TABLE.replace(";", "\t").encode()),
        ("photos.txt", TABLE.replace(";", "|").encode()),
        ("photos.csv", TABLE.replace("\r\n", "\r").encode()),
        ("photos.csv", f"sep=;\r\n{TABLE}".encode("utf-16")),
        ("photos.csv", f"# of mine\n\n{TABLE}".encode()),
    ],
)
def test_tables_are_read_however_they_are_written(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    source = source_of(f"{tmp_path}/{name}")
    assert source.classes == ("kaefer",)
    assert source.names == {"kaefer": "Käfer"}
    assert urls(source, "kaefer", "train") == {"http://a.org/1,2.jpg"}
    assert urls(source, "kaefer", "val") == {"http://a.org/3.jpg"}
    assert source.made_up == ("test",)
    assert not source.excluded


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "photos.json",
            '[{"url": "http://a.org/1.jpg", "label": "Käfer"}, {"x": [1]}, 7]',
        ),
        (
            "photos.jsonl",
            '{"URL": "http://a.org/1.jpg", "class": "Käfer", "size": {"w": 1}}\r\n\n{"x": 1}\n7\n',
        ),
    ],
)
def test_json_is_a_list_or_lines(name: str, text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding=encoding)
    source = source_of(f"{tmp_path}/{name}")
    assert urls(source, "kaefer") == {"http://a.org/1.jpg"}
    assert source.excluded == {"not an address": 2}


def test_a_list_of_a_macintosh_has_lines(tmp_path: Path) -> None:
    (tmp_path / "cats.txt").write_bytes(b"http://a.org/1.jpg\rhttp://a.org/2.jpg\r")
    assert urls(source_of(str(tmp_path)), "cats") == {"http://a.org/1.jpg", "http://a.org/2.jpg"}


def test_the_order_is_that_of_the_seed_and_not_of_the_list(tmp_path: Path) -> None:
    lines = [f"http://a.org/{number}.jpg\n" for number in range(20)]
    (tmp_path / "a.txt").write_text("".join(lines))
    orders = [
        [it.source for it in listed(source_of(f"{tmp_path}/a.txt", seed=s), "a")] for s in (1, 2)
    ]
    random.Random(0).shuffle(lines)
    (tmp_path / "a.txt").write_text("".join(lines[:15]))
    again = [it.source for it in listed(source_of(f"{tmp_path}/a.txt", seed=1), "a")]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
    assert again == [url for url in orders[0] if url in again]


def test_an_address_listed_twice_is_yielded_twice(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("http://a.org/1.jpg\nhttp://a.org/1.jpg\n")
    assert len(listed(source_of(f"{tmp_path}/a.txt"), "a")) == 2


@pytest.mark.parametrize(
    ("files", "spec", "message"),
    [
        ({}, "a.txt", r"a\.txt is not a file"),
        ({}, "", "has no list per class"),
        ({"a.txt": ""}, "a.txt", r"a\.txt holds no address"),
        ({"a.txt": "\x89PNG\r\n\0\0"}, "a.txt", r"a\.txt holds no address"),
        ({"a.csv": "url,licence\n"}, "", r"a\.csv holds no address"),
        ({"a.txt": "http://b.org/1", "b.txt": "# none\n"}, "", r"b\.txt holds no address"),
        ({"general.txt": "http://b.org/1"}, "", "'general' cannot be a class"),
        ({"a.csv": "url,class\nhttp://b.org/1,../b\n"}, "a.csv", r"'\.\./b'"),
        (
            {"a.csv": "url,split\nhttp://b.org/1,val\n", "b.txt": "http://b.org/1"},
            "",
            "column split",
        ),
        ({"a.csv": "http://b.org/1.jpg;cats\n"}, "", r"a\.csv has no column url"),
        ({"a.csv": "link,label\nhttp://b.org/1.jpg,cats\n"}, "", r"a\.csv has no column url"),
        ({"a.csv": "url,class\nhttp://b.org/1,Cats\nhttp://b.org/2,cats"}, "a.csv", "'Cats' and"),
        ({"a.json": "["}, "", r"a\.json is incomplete or not JSON"),
        ({"a.jsonl": '{"url": "http://b.org/1"}\n{"url'}, "", r"a\.jsonl is incomplete or not"),
        ({"a.json": '{"images": []}'}, "", r"a\.json holds no address"),
        ({"a.txt": "PK\x03\x04"}, "", r"a\.txt is a zip archive: unpack it"),
        ({"a.csv": 'url,title\nhttp://b.org/1,"' + 200_000 * "x"}, "a.csv", r"a\.csv, line 2"),
    ],
)
def test_a_faulty_list_is_one_sentence(
    files: dict[str, str], spec: str, message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        source_of(str(tmp_path / spec) if spec else str(tmp_path))


def test_a_class_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="'b' is not CLASS=FILE"):
        source_of("a=list.txt,b")


def test_no_other_kinds() -> None:
    with pytest.raises(ConfigError, match=r"no source 'flickr:cats': give folder:PATH, .*coco:"):
        find_source("flickr:cats", SourceConfig(), 286)
    with pytest.raises(ConfigError, match="are options of imagenet:"):
        find_source("scenes", SourceConfig(archives="{wnid}.tar"), 286)


@pytest.mark.parametrize("options", [{"seed": -1}, {"min_area": 1.5}, {"max_others": -0.1}])
def test_options_have_ranges(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="--" + next(iter(options)).replace("_", "-")):
        SourceConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (
            "http://me:p@ss@a.org/{wnid}.tar?wnid={wnid}&accesskey=2673,https://b.org/x?token=1",
            "http://a.org/{wnid}.tar?wnid={wnid}&accesskey=…,https://b.org/x?token=…",
        ),
        ("https://a.org/?k={wnid}SECRET", "https://a.org/?k={wnid}…"),
        ("https://a.org/?k={wnid}SECRET&wnid={wnid}", "https://a.org/?k={wnid}…&wnid={wnid}"),
        ("https://a.org/?k=SECRET{wnid}&w={wnid},b", "https://a.org/?k=…&w={wnid},b"),
        ("https://a.org/?k={wnid}=SECRET==", "https://a.org/?k={wnid}…"),
        ("https://a.org/?k=", "https://a.org/?k=…"),
    ],
)
def test_addresses_are_told_without_secrets(address: str, told: str) -> None:
    assert without_secrets(address) == told


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("http://a.org/x", True),
        ("HTTPS://a.org", True),
        ("http:///x", False),
        ("http://[", False),
        ("ftp://a.org", False),
        ("/data/x", False),
        ("", False),
    ],
)
def test_addresses_are_of_http(text: str, outcome: bool) -> None:
    assert is_address(text) is outcome


def test_a_download_is_deleted_after_use() -> None:
    def download(url: str, path: Path) -> None:
        path.write_bytes(b"a\r\nb\rc")

    with local_file("http://me:pass@a.org/list", download) as file:
        assert list(file.lines()) == ["a\n", "b c\n"]
        assert file.name == "http://a.org/list"
    assert not file.path.exists()


def test_nothing_is_downloaded_without_a_download() -> None:
    with (
        pytest.raises(ConfigError, match=r"http://a\.org/list cannot be downloaded here"),
        local_file("http://me:pass@a.org/list", None),
    ):
        pass


def test_a_password_in_an_address_is_used_and_not_shown() -> None:
    candidate = UrlCandidate("http://user:word@photos.example/1@2.jpg?a=b", "cats")
    assert candidate.source == "http://photos.example/1@2.jpg?a=b"
    without = "http://photos.example/x//1@2.jpg?u=http://me@b.example/"
    assert UrlCandidate(without, "cats").source == without
    asked: list[str] = []
    candidate.read(lambda url: asked.append(url) or b"")
    assert asked == [candidate.url]
