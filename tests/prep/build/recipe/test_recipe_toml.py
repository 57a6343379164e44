"""`recipe.toml`: read whole, every problem told with its key; written back, the same."""

from __future__ import annotations

import os
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prep.build.recipe.options import BuildOptions
from prep.build.recipe.recipe import ShardOptions, differences
from prep.build.recipe.recipe_toml import read_recipe, recipe_text, sections, with_flags
from prep.errors import UsageError
from prep.readers.limits import MAX_RECIPE_BYTES
from prep.sources.detect import SourceOptions
from prep.sources.table_options import TableOptions
from prep.splits.spec import SplitSpec
from prep.transforms.cast import Cast
from prep.transforms.gray import Gray
from prep.transforms.interface.transform import Transform
from prep.transforms.registry import read_transforms
from prep.transforms.resize import Resize
from prep.transforms.scale import Scale
from prep.transforms.tile import Tile

KINDS = "'class' or 'number', or a table of columns and one of them, such as {age = 'number'}"
RESIZE = "[[transforms]]\nname = 'resize'\nsize = [4, 5]\n"
OWN = """
def double(array, *, times=2):
    return array * times

def rest(array, **params):
    return array

number = 3
"""


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Read a recipe of some text, in a folder with a module `own_of_test`."""
    (tmp_path / "own_of_test.py").write_text(OWN)
    (tmp_path / "broken_of_test.py").write_text("import nowhere_at_all\n")
    (tmp_path / "raising_of_test.py").write_text("raise ValueError('no\\nway')\n")
    (tmp_path / "leaving_of_test.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "syntax_of_test.py").write_text("def f(:\n")

    def make(text: str | bytes) -> BuildOptions:
        path = tmp_path / "recipe.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_recipe(path)

    return make


def problems_of(error: pytest.ExceptionInfo[UsageError]) -> list[str]:
    """Return the problems that an error tells, without the file's name."""
    first, *rest = str(error.value).splitlines()
    return [line.removeprefix("  ") for line in rest] or [first.partition("recipe.toml: ")[2]]


TRANSFORM_NAMES = "cast, crop, gray, pad, resize, scale, tile, transpose"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "size = [3, 4]",
            ["size: expected a section of a recipe: one of: labels, output, source, splits, transforms, found an unknown key"],
        ),
        (
            "[outputs]",
            [
                "outputs: expected a section of a recipe: 'output' (there are: labels, output, source, splits, transforms), found an unknown key"
            ],
        ),
        ("source = 3", ["source: expected a section [source], found 3"]),
        ("[[source]]", ["source: expected a section [source], found [{}]"]),
        ("[source]\nformat = 'pictures'", ["source.format: expected 'auto' or 'images' or 'arrays' or 'table', found 'pictures'"]),
        (
            "[source]\ncolour = 'rgb'",
            ["source.colour: expected a key of [source]: 'color' (there are: color, format, npz_key), found an unknown key"],
        ),
        ("[source]\nzzz = 1", ["source.zzz: expected a key of [source]: one of: color, format, npz_key, found an unknown key"]),
        ("[source]\ncolor = 'grey'", ["source.color: expected 'auto' or 'rgb' or 'gray', found 'grey'"]),
        ("[source]\nnpz_key = ''", ["source.npz_key: expected text, found ''"]),
        ("[labels]\ntable = 7", ["labels.table: expected text, found 7"]),
        ("[labels]\ncolumns = 'label'", ["labels.columns: expected a list of texts, found 'label'"]),
        *(
            (
                f"[labels]\nkind = {value}",
                [f"labels.kind: expected {KINDS}, found {found}"],
            )
            for value, found in (("'float'", "'float'"), ("['number']", "['number']"), ("{}", "{}"), ("{age = 1}", "{'age': 1}"))
        ),
        ("[labels]\nallow_empty = 1", ["labels.allow_empty: expected true or false, found 1"]),
        (
            "[output]\ndtype = 'int'",
            ["output.dtype: expected the NumPy name of a numeric dtype, such as 'uint8' or 'float32', found 'int'"],
        ),
        ("[splits]\nseed = -1\nfractions = {a = 1}", ["splits.seed: expected an integer from 0, found -1"]),
        ("[splits]\nseed = true\nfractions = {a = 1}", ["splits.seed: expected an integer from 0, found True"]),
        ("[splits]\nseed = 1", ["splits.fractions: expected shares for the seed to draw, or folds, found none"]),
        *(
            (
                f"[splits]\nfractions = {written}",
                [
                    f"splits.fractions: expected a table of names and shares above 0 that add up to 1, such as {{train = 0.8, val = '1/5'}}, found {shown}"
                ],
            )
            for written, shown in [
                ("{a = 0.5}", "{'a': 0.5}"),
                ("{a = 0.5, b = 0.6}", "{'a': 0.5, 'b': 0.6}"),
                ("{a = 2, b = -1}", "{'a': 2, 'b': -1}"),
                ("{a = 'x'}", "{'a': 'x'}"),
                ("{a = '1/0'}", "{'a': '1/0'}"),
                ("{a = true}", "{'a': True}"),
                ("{a = nan}", "{'a': nan}"),
                ("{a = inf}", "{'a': inf}"),
                ("{}", "{}"),
                ("[1]", "[1]"),
            ]
        ),
        ("transforms = 3", ["transforms: expected a list of at most 100 tables [[transforms]], found 3"]),
        ("transforms = [3]", ["transforms[0]: expected a table with a name, found 3"]),
        ("[transforms]\nname = 'gray'", ["transforms: expected a list of at most 100 tables [[transforms]], found {'name': 'gray'}"]),
        ("[[transforms]]\nsize = [3, 4]", ["transforms[0].name: expected the name of a transform, found none"]),
        ("[[transforms]]\nname = 3", ["transforms[0].name: expected the name of a transform, found 3"]),
        (
            "[[transforms]]\nname = 'resiz'",
            [
                f"transforms[0].name: expected 'resize' (there are: {TRANSFORM_NAMES}), or a function of yours as 'module:function', found 'resiz'"
            ],
        ),
        (
            "[[transforms]]\nname = 'own_of_test.double'",
            [
                f"transforms[0].name: expected one of: {TRANSFORM_NAMES}, or a function of yours as 'module:function', found 'own_of_test.double'"
            ],
        ),
        ("[[transforms]]\nname = ':double'", ["transforms[0].name: expected 'module:function', found ':double'"]),
        ("[[transforms]]\nname = 'os; x:y'", ["transforms[0].name: expected 'module:function', found 'os; x:y'"]),
        (
            f"{RESIZE}fitt = 'crop'",
            ["transforms[0].fitt: expected a parameter of resize: 'fit' (there are: filter, fit, size, value), found an unknown key"],
        ),
        (f"{RESIZE}fit = 'cut'", ["transforms[0].fit: expected 'stretch' or 'crop' or 'pad', found 'cut'"]),
        (
            f"{RESIZE}filter = ['box']",
            ["transforms[0].filter: expected 'nearest' or 'box' or 'bilinear' or 'bicubic' or 'lanczos', found ['box']"],
        ),
        *(
            (
                f"{RESIZE}[[transforms]]\nname = 'resize'\nsize = {size}",
                [
                    f"transforms[1].size: expected [height, width], two positive integers of at most 178,956,970 pixels together, found {shown}"
                ],
            )
            for size, shown in [
                ("'big'", "'big'"),
                ("[0, 3]", "[0, 3]"),
                ("[3]", "[3]"),
                ("[3.0, 4]", "[3.0, 4]"),
                ("[true, 4]", "[True, 4]"),
                ("[100000, 100000]", "[100000, 100000]"),
                ("{height = 3}", "{'height': 3}"),
                (str([1] * 1000), "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 ..."),
            ]
        ),
        (
            "[[transforms]]\nname = 'crop'\nsize = [3, 4]\nposition = [1]",
            ["transforms[0].position: expected as many offsets as size has lengths (2), found [1]"],
        ),
        (
            "[[transforms]]\nname = 'crop'\nsize = [3, 4]\nposition = 'middle'",
            [
                "transforms[0].position: expected 'center', 'start', 'end' or a list of offsets from the start, such as [0, 10], found 'middle'"
            ],
        ),
        ("[[transforms]]\nname = 'pad'\nsize = [3]\nvalue = nan", ["transforms[0].value: expected a finite number, found nan"]),
        ("[[transforms]]\nname = 'pad'\nsize = [3]\nvalue = '0'", ["transforms[0].value: expected a finite number, found '0'"]),
        (
            "[[transforms]]\nname = 'tile'\nsize = [3, 4]\nstride = [3]",
            ["transforms[0].stride: expected as many lengths as size has (2), found [3]"],
        ),
        (
            "[[transforms]]\nname = 'transpose'\naxes = [0, 2]",
            ["transforms[0].axes: expected each axis from 0 once, in the order wanted, such as [2, 0, 1], found [0, 2]"],
        ),
        *(
            (
                f"[[transforms]]\nname = 'scale'\nfactor = {factor}",
                [f"transforms[0].factor: expected a finite number other than 0, a quotient such as '1/255', or 'unit', found {shown}"],
            )
            for factor, shown in [
                ("0", "0"),
                ("'1/0'", "'1/0'"),
                ("'x'", "'x'"),
                ("inf", "inf"),
                ("true", "True"),
                ("'1e999999999'", "'1e999999999'"),
            ]
        ),
        (
            "[[transforms]]\nname = 'scale'\nfactor = 2\ndtype = 'uint8'",
            ["transforms[0].dtype: expected the NumPy name of a float dtype, such as 'float32', found 'uint8'"],
        ),
        (
            "[[transforms]]\nname = 'own_of_test:double'\ntimes = 2020-01-01",
            [
                "transforms[0].times: expected text, a finite number, true or false, or lists and tables of them, found datetime.date(2020, 1, 1)"
            ],
        ),
        (
            "[[transforms]]\nname = 'own_of_test:double'\ntimes = nan",
            ["transforms[0].times: expected text, a finite number, true or false, or lists and tables of them, found nan"],
        ),
        (
            "[[transforms]]\nname = 'own_of_test:double'\ntime = 3",
            [
                "transforms[0]: expected parameters of own_of_test:double, found got an unexpected keyword argument 'time'; it takes (array, *, times=2)"
            ],
        ),
        (
            "[[transforms]]\nname = 'own_of_test:number'",
            [
                "transforms[0].name: expected a function that can be imported, found 'own_of_test:number': own_of_test:number is no function but int"
            ],
        ),
        (
            "[[transforms]]\nname = 'nowhere_at_all:f'",
            [
                (
                    "transforms[0].name: expected a function that can be imported, found 'nowhere_at_all:f': "
                    "there is no module 'nowhere_at_all', neither installed nor in FOLDER or CURRENT"
                )
            ],
        ),
        (
            "[[transforms]]\nname = 'broken_of_test:f'",
            [
                (
                    "transforms[0].name: expected a function that can be imported, found 'broken_of_test:f': "
                    "importing 'broken_of_test' fails: ModuleNotFoundError: No module named 'nowhere_at_all'"
                )
            ],
        ),
        (
            "[[transforms]]\nname = 'raising_of_test:f'",
            [
                (
                    "transforms[0].name: expected a function that can be imported, found 'raising_of_test:f': "
                    "importing 'raising_of_test' fails: ValueError: no\\nway"
                )
            ],
        ),
        (
            "[[transforms]]\nname = 'leaving_of_test:f'",
            [
                (
                    "transforms[0].name: expected a function that can be imported, found 'leaving_of_test:f': "
                    "importing 'leaving_of_test' fails: SystemExit: 3"
                )
            ],
        ),
        (
            "[output]\ndtype = 1\n[[transforms]]\nname = 'tile'\nsiz = [3]\n[[transforms]]\n",
            [
                "output.dtype: expected the NumPy name of a numeric dtype, such as 'uint8' or 'float32', found 1",
                "transforms[0].siz: expected a parameter of tile: 'size' (there are: border, size, stride, value), found an unknown key",
                (
                    "transforms[0].size: expected a list of positive integers, one for each of the first axes, such as [32, 32], "
                    "of at most 178,956,970 together, found none"
                ),
                "transforms[1].name: expected the name of a transform, found none",
            ],
        ),
        (
            "[[transforms]]\n[[transforms]]\nname = 'own_of_test:nope'",
            [
                "transforms[0].name: expected the name of a transform, found none",
                "transforms[1].name: expected a function that can be imported, found 'own_of_test:nope': module 'own_of_test' (FOLDER/own_of_test.py) has no 'nope'",
            ],
        ),
    ],
)
def test_every_problem_is_told_with_its_key(read: Any, tmp_path: Path, text: str, problems: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert [problem.replace(str(tmp_path), "FOLDER").replace(os.getcwd(), "CURRENT") for problem in problems_of(caught)] == problems


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe", r"recipe.toml: is no UTF-8 \(byte 0\); expected a TOML file"),
        (b"a = \x00", "is no TOML: "),
        (b"[source", "is no TOML: "),
        (b"a = 1\na = 2", "is no TOML: "),
        (b"a = " + b"[" * 100_000, "is no TOML"),
        (b"a = " + b"9" * 100_000, "is no TOML|unknown key"),
        (b"#" * (MAX_RECIPE_BYTES + 1), "has more than 1,048,576 bytes, which no recipe has"),
        (b"[[transforms]]\n" * 101, "transforms: expected a list of at most 100 tables"),
        (b'"a\\nb\\u001b[31m" = 1', r"a\\nb\\x1b\[31m: expected a section"),
    ],
)
def test_a_hostile_file_gives_one_line(read: Any, data: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        read(data)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_many_problems_are_not_all_told(read: Any) -> None:
    with pytest.raises(UsageError, match=r"recipe\.toml: 5000 problems:") as caught:
        read("\n".join(f"x{number} = 1" for number in range(5000)))
    assert str(caught.value).splitlines()[-1] == "  ... and 4900 more"


def test_what_is_no_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.toml: the recipe cannot be read: no such file; expected a TOML file"):
        read_recipe(tmp_path / "nowhere.toml")
    with pytest.raises(UsageError, match=r"the recipe cannot be read: is a folder; expected a TOML file"):
        read_recipe(tmp_path)


# What a recipe stands for


@pytest.mark.parametrize(
    ("text", "shards"),
    [
        ("", {}),
        (RESIZE, {"size": (4, 5)}),
        (f"{RESIZE}fit = 'stretch'\nfilter = 'bilinear'", {"size": (4, 5)}),
        (f"{RESIZE}fit = 'crop'", {"transforms": (Resize(size=(4, 5), fit="crop"),)}),
        (f"[[transforms]]\nname = 'gray'\n{RESIZE}", {"transforms": (Gray(), Resize(size=(4, 5)))}),
        (f"{RESIZE}{RESIZE}", {"size": (4, 5), "transforms": (Resize(size=(4, 5)),)}),
        ("[[transforms]]\nname = 'scale'\nfactor = '1/2'", {"scale": 0.5}),
        ("[[transforms]]\nname = 'scale'\nfactor = 'unit'\n[output]\ndtype = 'float16'", {"scale": "unit", "dtype": "float16"}),
        (
            "[[transforms]]\nname = 'scale'\nfactor = 2\n[output]\ndtype = 'uint8'",
            {"transforms": (Scale(factor=2.0),), "dtype": "uint8"},
        ),
        (
            "[[transforms]]\nname = 'scale'\nfactor = 2\ndtype = 'float16'",
            {"transforms": (Scale(factor=2.0, dtype="float16"),)},
        ),
        ("[[transforms]]\nname = 'cast'\ndtype = 'int8'", {"dtype": "int8"}),
        (
            "[[transforms]]\nname = 'scale'\nfactor = 2\n[[transforms]]\nname = 'cast'\ndtype = 'int8'",
            {"transforms": (Scale(factor=2.0), Cast(dtype="int8"))},
        ),
        (
            "[[transforms]]\nname = 'cast'\ndtype = 'int8'\n[output]\ndtype = 'int16'",
            {"transforms": (Cast(dtype="int8"),), "dtype": "int16"},
        ),
        ("[[transforms]]\nname = 'grey'", {"transforms": (Gray(),)}),
        ("[source]\ncolor = 'gray'\nnpz_key = 'x'", {"color": "gray", "npz_key": "x"}),
    ],
)
def test_what_a_flag_stands_for_is_stored_as_the_flag(read: Any, text: str, shards: dict[str, Any]) -> None:
    assert read(text).shards == ShardOptions(**{"transforms": (), **shards})


def test_all_sections(read: Any, tmp_path: Path) -> None:
    assert read(
        "[source]\nformat = 'arrays'\n[labels]\ntable = 'sub/labels.csv'\nid_column = 'i'\npath_column = 'p'\ncolumns = ['a', 'b']\n"
        "kind = {b = 'number'}\nallow_empty = true\n[splits]\nfractions = {b = 0.1, a = '9/10'}\nseed = 3"
    ) == BuildOptions(
        source=SourceOptions(
            format="arrays",
            labels=tmp_path / "sub" / "labels.csv",
            table=TableOptions(
                id_column="i", path_column="p", label_columns=("a", "b"), label_kind={"b": "number"}, allow_empty_labels=True
            ),
        ),
        shards=ShardOptions(transforms=()),
        splits=SplitSpec(fractions={"b": Fraction(1, 10), "a": Fraction(9, 10)}, seed=3),
        whole=True,
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=3)
TABLES = st.one_of(
    st.just({"name": "gray"}),
    st.fixed_dictionaries(
        {"name": st.just("resize"), "size": st.lists(st.integers(1, 500), min_size=2, max_size=2)},
        optional={
            "fit": st.sampled_from(["stretch", "crop", "pad"]),
            "filter": st.sampled_from(["box", "bilinear"]),
            "value": st.integers(),
        },
    ),
    st.fixed_dictionaries(
        {"name": st.just("tile"), "size": LENGTHS}, optional={"border": st.sampled_from(["pad", "shift"]), "value": st.floats(-9, 9)}
    ),
    st.fixed_dictionaries({"name": st.just("crop"), "size": LENGTHS}, optional={"position": st.sampled_from(["center", "start"])}),
    st.fixed_dictionaries({"name": st.just("cast"), "dtype": st.sampled_from(["uint8", "float32", "int64"])}),
    st.fixed_dictionaries(
        {"name": st.just("scale"), "factor": st.one_of(st.just("unit"), st.floats(0.001, 1000))},
        optional={"dtype": st.sampled_from(["float16", "float64"])},
    ),
    st.fixed_dictionaries(
        {"name": st.just("own_of_test:rest"), "a": st.one_of(TEXT, st.integers(), st.booleans(), st.floats(-9, 9), st.lists(TEXT))}
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tables=st.lists(TABLES, max_size=5),
    dtype=st.sampled_from([None, "uint8", "float32"]),
    color=st.sampled_from([None, "auto", "gray"]),
    npz_key=st.none() | TEXT,
    splits=st.none() | st.builds(SplitSpec, fractions=st.just({"b": Fraction(1, 3), "ä": Fraction(2, 3)}), seed=st.integers(0, 9)),
    label_columns=st.lists(TEXT, max_size=2),
)
def test_a_recipe_survives_its_toml(
    read: Any, tmp_path: Path, tables: Any, dtype: Any, color: Any, npz_key: Any, splits: Any, label_columns: Any
) -> None:
    transforms, problems = read_transforms(tables)
    assert problems == []
    shards = ShardOptions.of_transforms(
        list(transforms.values()),
        dtype=dtype,
        reader={name: value for name, value in {"color": color, "npz_key": npz_key}.items() if value is not None},
    )
    options = BuildOptions(
        source=SourceOptions(labels=tmp_path / "labels.csv", table=TableOptions(label_columns=tuple(label_columns))),
        shards=shards,
        splits=splits,
        whole=True,
    )
    assert read(recipe_text(options)) == options
    assert read(recipe_text(options, tmp_path)) == options
    stored = ShardOptions.from_dict(tomllib.loads(recipe_text(options)) and shards.as_dict())
    assert stored.as_dict() == shards.as_dict()


def test_nothing_is_written_of_what_is_left_open() -> None:
    assert recipe_text(BuildOptions()) == ""


# Flags beside a recipe


def test_a_flag_takes_the_place_of_what_it_stands_for(read: Any) -> None:
    recipe = read(
        f"[source]\nformat = 'images'\n{RESIZE}[[transforms]]\nname = 'tile'\nsize = [2]\n[[transforms]]\nname = 'scale'\nfactor = 2"
    )
    flags = BuildOptions(shards=ShardOptions(size=(8, 8), scale=0.5, dtype="float16"), workers=3, prune=True)
    both = with_flags(recipe, flags)
    assert both.shards == ShardOptions(size=(8, 8), scale=0.5, dtype="float16", transforms=(Tile(size=(2,)),))
    assert (both.source.format, both.workers, both.prune, both.whole) == ("images", 3, True, True)


@pytest.mark.parametrize(("given", "expected"), [(None, {"age": "number"}), ("class", "class"), ({"b": "class"}, {"b": "class"})])
def test_a_kind_of_labels_takes_the_place_of_the_recipes(read: Any, given: Any, expected: Any) -> None:
    flags = BuildOptions(source=SourceOptions(table=TableOptions(label_kind=given)))
    assert with_flags(read("[labels]\nkind = {age = 'number'}"), flags).source.table.label_kind == expected


@pytest.mark.parametrize(
    ("text", "flags", "why"),
    [
        (f"{RESIZE}fit = 'crop'", ShardOptions(size=(8, 8)), "--size contradicts the recipe, which has a resize of its own"),
        (
            "[[transforms]]\nname = 'scale'\nfactor = 2\n[[transforms]]\nname = 'tile'\nsize = [2]",
            ShardOptions(scale=0.5),
            "--scale contradicts the recipe, which has a scale of its own",
        ),
    ],
)
def test_a_flag_that_could_mean_two_things_is_refused(read: Any, text: str, flags: ShardOptions, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        with_flags(read(text), BuildOptions(shards=flags))


# What differs


def test_the_differences_of_transforms_are_told_by_their_parameters() -> None:
    def stored(*transforms: Transform) -> dict[str, Any]:
        return {"format": "images", "transforms": [transform.canonical() for transform in transforms]}

    assert differences(stored(Tile(size=(2,))), stored(Tile(size=(3,), border="drop"))) == [
        "transforms[0].border: pad -> drop",
        "transforms[0].size: [2] -> [3]",
    ]
    assert differences(stored(), stored(Gray())) == ["transforms[0].name: None -> gray"]
    own = {"name": "m:f", "params": {}, "code": "a"}
    assert differences({"transforms": [own]}, {"transforms": [own | {"code": "b"}]}) == ["transforms[0]: the code of m:f has changed"]
    assert differences({"transforms": 3}, {"transforms": []}) == ["transforms: 3 -> None"]


def test_every_key_of_every_section_has_a_meaning() -> None:
    assert sorted(sections()) == ["labels", "output", "source", "splits"]
    assert all(doc and kind.expected for keys in sections().values() for kind, doc in keys.values())
