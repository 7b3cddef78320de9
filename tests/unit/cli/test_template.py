"""Templates: every expected text below is what docker 28 prints for the same document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli.template import Template, TemplateError
from runengine.cli.template_functions import HEADER_FUNCTIONS
from runengine.cli.template_values import Bound, Map, NilList, Row

DOCUMENT = {
    "Id": "01" * 32,
    "Path": "sh",
    "Args": ["-c", "<a> & 'é'"],
    "State": {"Status": "running", "Running": True, "Paused": False, "Pid": 42, "Error": ""},
    "Name": "/name1",
    "Config": {
        "Env": ["A=b", "C=d"],
        "Labels": Map({"com.x.y": "v", "b": "w"}),
        "Entrypoint": NilList(),
    },
    "HostConfig": {"Memory": 536870912, "PidsLimit": None},
    "NetworkSettings": {
        "Networks": Map({"bridge": {"IPAddress": "172.17.0.2"}, "b2": {"IPAddress": "10.0.0.2"}}),
        "Ports": Map(
            {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": NilList()}, None
        ),
    },
}
ARGS = "[-c <a> & 'é']"


def render(text: str) -> str:
    return Template(text).render(DOCUMENT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.State.Pid}} {{.Name}}", "42 /name1"),
        ("{{ $.Name }}{{with .State}}{{$.Name}}{{.Status}}{{end}}", "/name1/name1running"),
        ("{{.Config.Labels.nope}}|{{index .Config.Labels `nope`}}|", "<no value>||"),
        ('{{index .Config.Labels "com.x.y"}}', "v"),
        ("{{.HostConfig.PidsLimit}} {{.Config.Entrypoint}}", "<nil> []"),
        ("{{.Config.Env}} {{.State.Running}}", "[A=b C=d] true"),
        ("{{.ID}}", "01" * 32),
        ("{{(.State).Status}}", "running"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "10.0.0.2 172.17.0.2 "),
        (
            "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}};{{end}}",
            "b2=10.0.0.2;bridge=172.17.0.2;",
        ),
        ("{{range .Config.Entrypoint}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $e := .Args}}{{$i}}{{$e}}{{break}}{{end}}", "0-c"),
        ("{{range .Args}}{{if eq . `-c`}}{{continue}}{{end}}<{{.}}>{{end}}", "<<a> & 'é'>"),
        ("{{range $x := .Config.Env}}{{$x}},{{end}}{{range 3}}{{.}}{{end}}", "A=b,C=d,012"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{if .State.Paused}}p{{else if .State.Running}}r{{else}}n{{end}}", "r"),
        ('{{if eq .State.Status "exited" "running"}}y{{end}}', "y"),
        ('{{with ""}}a{{else with "b"}}{{.}}{{else}}c{{end}}', "b"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{$x}}{{end}}{{$x}}", "32"),
        ("a  {{- 1 -}}  b {{/* note */}}{{- /* c */ -}}  d", "a1b d"),
        ('{{and 1 0}}{{or "" "x"}}{{not 0}}{{and "a" "b"}}', "0xtrueb"),
        ("{{lt 1 2}} {{le 2 2}} {{gt `b` `a`}} {{ge 1 2}}", "true true true false"),
        (
            "{{1.5}} {{0x10}} {{1e3}} {{1e21}} {{0.00001}} {{-3}} {{.5}} {{1_000}} {{1e6}}",
            "1.5 16 1000 1e+21 1e-05 -3 0.5 1000 1e+06",
        ),
        ("{{'a'}} {{\"a\\tb\\x41\\u00e9\"}} {{`r\\n`}}", "97 a\tbAé r\\n"),
        ('{{print "a" 1 2 "b" 3.5 4}}|{{println "a" 1}}', "a1 2b3.5 4|a 1\n"),
        (
            "{{json .NetworkSettings.Ports}}",
            '{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}',
        ),
        (
            "{{json .Args}} {{json nil}} {{json .Config.Entrypoint}}",
            '["-c","<a> & \'é\'"] null null',
        ),
        ('{{join .Args ","}} {{split "a,b" ","}}', "-c,<a> & 'é' [a b]"),
        ('{{split "abc" ""}}', "[a b c]"),
        ('{{upper "é"}}{{lower "AB"}}{{title "it\'s o_k 2x"}}', "ÉabIt'S O_k 2x"),
        ('{{pad "x" 1 2}}|{{pad "" 1 2}}|{{truncate "éàü" 2}}|{{truncate "a" 5}}', " x  ||éà|a"),
        ('{{len "é"}} {{len .Args}} {{index "abc" 1}} {{slice "abcdef" 1 3}}', "2 2 98 bc"),
        ("{{.Config.Labels.b | upper | lower | printf `%s-%s` `x`}}", "x-w"),
        ('{{html "<a>"}}{{urlquery "a b/é"}}', "&lt;a&gt;a+b%2F%C3%A9"),
        ("{{range .Config.Env}}{{$p := split . `=`}}{{index $p 0}};{{end}}", "A;C;"),
        ("plain }} text", "plain }} text"),
    ],
)
def test_renders_what_docker_renders(text, expected):
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{{printf "%s %d %q %5d|%-5s|%x" "i" 42 "a" 3 "b" 255}}', 'i 42 "a"     3|b    |ff'),
        ('{{printf "%d %s %z" "x" 3}}', "%!d(string=x) %!s(int=3) %!z(MISSING)"),
        ('{{printf "%d %d" 1}}|{{printf "a" 1 "x"}}', "1 %!d(MISSING)|a%!(EXTRA int=1, string=x)"),
        (
            '{{printf "%5.2f|%-8.3s|%+d|%08.3f" 3.14159 "abcdef" 5 3.14159}}',
            " 3.14|abc     |+5|0003.142",
        ),
        (
            '{{printf "%t|%c|%U|%#x|%e|%T|%%|%" true 65 66 255 12345.678 "s"}}',
            "true|A|U+0042|0xff|1.234568e+04|string|%|%!(NOVERB)",
        ),
        ('{{printf "%*d|%-*d|" 4 1 3 2}}{{printf "%x %X" "é" "é"}}', "   1|2  |c3a9 C3A9"),
        ('{{printf "%v %v %s" .Config.Env .State.Running .Args}}', f"[A=b C=d] true {ARGS}"),
    ],
)
def test_printf_is_go_s(text, expected):
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Foo}}", ':1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Foo}}", ':1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
        ("a\n{{.Foo}}", ':2:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.state}}", ':1:2: executing "" at <.state>: map has no entry for key "state"'),
        ("{{.Path.Foo}}", "can't evaluate field Foo in type string"),
        ("{{.HostConfig.PidsLimit.Foo}}", "nil pointer evaluating field Foo"),
        ('{{index (index .NetworkSettings.Ports "81/tcp") 0}}', "error calling index: index of"),
        ("{{index .Args 5}}", "error calling index: index out of range: 5"),
        ("{{lt 1 2.5}}", "error calling lt: incompatible types for comparison"),
        ("{{eq 1}}", "error calling eq: missing argument for comparison"),
        ("{{eq .Args .Args}}", "non-comparable type"),
        ("{{range .Id}}x{{end}}", "range can't iterate over"),
        ("{{upper}}", "wrong number of args for upper"),
        ("{{upper 1}}", "expected string; got int"),
        ("{{join .Id `,`}}", "expected []string; got string"),
        ("{{3 4}}", "can't give argument to non-function"),
        ("{{nil}}", "nil is not a command"),
        ("{{1 | 2}}", ":1: non executable command in pipeline"),
        ("{{$y}}", ':1: undefined variable "$y"'),
        ("{{if $x := .Id}}{{end}}{{$x}}", ':1: undefined variable "$x"'),
        ("{{nope}}", ':1: function "nope" not defined'),
        ("{{if}}", ":1: missing value for if"),
        ("{{}}", ":1: missing value for command"),
        ("{{end}}", ":1: unexpected {{end}}"),
        ("{{else}}", ":1: unexpected {{else}}"),
        ("{{if .Id}}", ":1: unexpected EOF"),
        ("{{if .Id}}a{{else}}b{{else}}c{{end}}", ":1: expected end; found {{else}}"),
        ("{{.Id", ":1: unclosed action"),
        ("{{ (.Id }}", ":1: unclosed left paren"),
        ("{{.Id}", ":1: bad character U+007D '}'"),
        ('{{"abc', ":1: unterminated quoted string"),
        ("{{/* c", ":1: unclosed comment"),
        ("{{break}}", ":1: {{break}} outside {{range}}"),
        ("{{1x}}", ":1: unexpected 'x' in operand"),
        ('{{"\\q"}}', ":1: unknown escape"),
        ('{{define "x"}}{{end}}', ":1: {{define}} is not supported"),
        ("{{" + "(" * 5000 + "1}}", "nested too deeply"),
        ('{{printf "%99999999999d" 1}}', "width or precision is not a small number"),
    ],
)
def test_says_what_is_wrong(text, message):
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert str(caught.value).startswith("template parsing error: ")
    assert message in str(caught.value)


class _Row(Row):
    def field(self, name):
        return {"ID": "x", "Label": Bound("Label", lambda key: f"<{key}>")}[name]

    def document(self):
        return {"ID": "x"}


def test_rows_have_fields_and_methods():
    assert Template('{{.ID}}{{.Label "a"}}{{json .}}').render(_Row()) == 'x<a>{"ID":"x"}'


def test_a_row_s_missing_field_names_the_fields_that_exist():
    with pytest.raises(TemplateError, match=r"can't evaluate field Nope .*fields are: ID"):
        Template("{{.Nope}}").render(_Row())


def test_header_functions_leave_titles_alone():
    header = Template("{{.A | upper}}{{json .A}}{{truncate .A 1}}", HEADER_FUNCTIONS)
    assert header.render({"A": "title"}) == "title" * 3


_PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{-", "-}}", " ", "|", "(", ")", ".", ".Id", ".Args", ".State", "$", "$x"),
        *(":=", "=", ",", "if", "else", "end", "range", "with", "break", "continue", "define"),
        *("nil", "1", "-1", "1.5", "1e400", "0x", '"%5d"', '"', "`", "'a'", "'", "/*", "*/"),
        *("index", "printf", "eq", "lt", "slice", "len", "json", "join", "split", "pad", "and"),
        *("truncate", "or", "\n", "{{range .Args}}", "{{end}}", "{{if .Id}}", "{{else}}", "html"),
    ]
)


def refusal(template: str, data: object) -> str:
    """What the template is refused with; empty when it renders."""
    try:
        assert isinstance(Template(template).render(data), str)
    except TemplateError as error:
        return error.brief
    return ""


@given(st.lists(_PIECES, max_size=14).map(" ".join))
def test_any_sequence_of_pieces_renders_or_is_refused(text):
    assert refusal(text, DOCUMENT)[:24] in ("", "template parsing error: ")


@given(st.lists(_PIECES, max_size=10).map("".join), st.text(max_size=5))
def test_any_text_renders_or_is_refused(pieces, text):
    for source in (pieces + text, "{{" + text + pieces + "}}"):
        assert refusal(source, DOCUMENT)[:24] in ("", "template parsing error: ")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(_VALUES, _VALUES, _VALUES)
def test_functions_take_any_values(first, second, third):
    data = {"a": first, "b": second, "c": third}
    for name in HEADER_FUNCTIONS:
        for arguments in ("", ".a", ".a .b", ".a .b .c"):
            brief = refusal(f"{{{{{name} {arguments}}}}}", data)
            assert brief[:24] in ("", "template parsing error: ")


@given(st.text(max_size=12), _VALUES)
def test_printf_takes_any_pattern_and_value(pattern, value):
    for text in (pattern, f"%{pattern}"):
        brief = refusal("{{printf .a .b}}", {"a": text, "b": value})
        assert not brief or "width or precision" in brief
