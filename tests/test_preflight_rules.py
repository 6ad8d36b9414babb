"""Every rule of the preflight fires on a graph that breaks it and is silent on the nearest one that does not."""

import pytest

from tts_lab.preflight.hlo import Array, Graph
from tts_lab.preflight.rules import RULES, check

ADD = "%Add.1 (x.1: f32[], y.1: f32[]) -> f32[] {\n  ROOT %add.1 = f32[] add(f32[] %x.1, f32[] %y.1)\n}\n"
KEEP = "%Keep.2 (x.2: s64[], y.2: s64[]) -> s64[] {\n  ROOT %y.2 = s64[] parameter(1)\n}\n"
GRADIENT = "convolution(f32[8,4,1,99]{3,2,1,0} %a, f32[8,6,1,99]{3,2,1,0} %b)"

# rule: lines that break it, lines that do not
CASES = {
    "complex numbers": ("%f = c64[4]{0} add(c64[4]{0} %a, c64[4]{0} %a)", "%f = f32[4]{0} add(f32[4]{0} %a, f32[4]{0} %a)"),
    "8-bit floats": ("%f = f8e4m3fn[4]{0} convert(f32[4]{0} %a)", "%f = bf16[4]{0} convert(f32[4]{0} %a)"),
    "data type": ("%f = f64[4]{0} convert(f32[4]{0} %a)", "%f = f64[] parameter(0)"),  # f64 scalars are the emulation's
    "narrow integers": ("%f = s8[4]{0} convert(f32[4]{0} %a)", "%f = s32[4]{0} convert(f32[4]{0} %a)"),
    "dynamic shape": ("%f = f32[<=4]{0} add(f32[<=4]{0} %a, f32[<=4]{0} %a)", "%f = f32[4]{0} negate(f32[4]{0} %a)"),
    "wide constant": ("%f = u64[] constant(4294967296)", "%f = u64[] constant(4294967295)"),
    "denied operator": ("%f = f32[4]{0} fft(f32[4]{0} %a), fft_type=RFFT", "%f = f32[4]{0} sine(f32[4]{0} %a)"),
    "unlisted operator": ("%f = f32[4]{0} cbrt(f32[4]{0} %a)", "%f = f32[4]{0} rsqrt(f32[4]{0} %a)"),
    "control flow": (
        "%f = (f32[4]{0}) while((f32[4]{0}) %a), condition=%c, body=%b", "%f = f32[4]{0} select(pred[4]{0} %p, f32[4]{0} %a, f32[4]{0} %b)"),
    "sort": ("%f = f32[4]{0} sort(f32[4]{0} %a), dimensions={0}", "%f = f32[4]{0} reverse(f32[4]{0} %a), dimensions={0}"),
    "integer top-k": ("%f = s64[4]{0} sort(s64[4]{0} %a), dimensions={0}", "%f = f32[4]{0} sort(f32[4]{0} %a), dimensions={0}"),
    "custom call": (
        '%f = f32[4]{0} custom-call(f32[4]{0} %a), custom_call_target="ResizeBilinearGrad", backend_config="00"',
        '%f = f32[4]{0} custom-call(f32[4]{0} %a), custom_call_target="AwsNeuronErf"'),
    "random algorithm": (
        "%f = (u64[2]{0}, u32[4]{0}) rng-bit-generator(u64[2]{0} %s), algorithm=rng_three_fry",
        "%f = (u64[2]{0}, u32[4]{0}) rng-bit-generator(u64[2]{0} %s), algorithm=rng_default"),
    "convolution, both dilated": (
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,3]{3,2,1,0} %b), "
        "window={size=1x3 lhs_dilate=1x2 rhs_dilate=1x2}, dim_labels=bf01_oi01->bf01",
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,3]{3,2,1,0} %b), "
        "window={size=1x3 lhs_dilate=1x2}, dim_labels=bf01_oi01->bf01"),
    "convolution, strided and dilated input": (
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,3]{3,2,1,0} %b), "
        "window={size=1x3 stride=1x2 lhs_dilate=1x2}, dim_labels=bf01_oi01->bf01",
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,3]{3,2,1,0} %b), "
        "window={size=1x3 stride=1x2}, dim_labels=bf01_oi01->bf01"),
    "kernel smaller than its dilation": (
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,5]{3,2,1,0} %b), "
        "window={size=1x5 rhs_dilate=1x6}, dim_labels=bf01_oi01->bf01",
        "%f = f32[2,6,1,9]{3,2,1,0} convolution(f32[2,4,1,9]{3,2,1,0} %a, f32[6,4,1,5]{3,2,1,0} %b), "
        "window={size=1x5 rhs_dilate=1x2}, dim_labels=bf01_oi01->bf01"),
    "weight gradient over a long window": (
        f"%f = f32[1,3,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x8192 pad=0_0x1_1}}, dim_labels=fb01_io01->01bf",
        f"%f = f32[1,3,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x512 pad=0_0x1_1}}, dim_labels=fb01_io01->01bf"),
    "weight gradient of a wide kernel": (
        f"%f = f32[1,7,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x99}}, dim_labels=fb01_io01->01bf",
        f"%f = f32[1,5,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x99}}, dim_labels=fb01_io01->01bf"),
    "grouped weight gradient": (
        f"%f = f32[1,3,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x99}}, dim_labels=fb01_io01->01bf, batch_group_count=4",
        f"%f = f32[1,3,4,6]{{3,2,1,0}} {GRADIENT}, window={{size=1x99}}, dim_labels=fb01_io01->01bf, feature_group_count=4"),
    "reverse": ("%f = f32[4]{0} reverse(f32[4]{0} %a), dimensions={0}", "%f = f32[4]{0} transpose(f32[4]{0} %a), dimensions={0}"),
    "integer scatter": (
        "%f = s64[9]{0} scatter(s64[9]{0} %a, s64[4,1]{1,0} %i, s64[4]{0} %u), to_apply=%Add.1",
        "%f = s64[9]{0} scatter(s64[9]{0} %a, s64[4,1]{1,0} %i, s64[4]{0} %u), to_apply=%Keep.2"),
    "scatter out of range": (
        "%i = s64[12]{0} iota(), iota_dimension=0\n"
        "  %f = f32[9]{0} scatter(f32[9]{0} %a, s64[12]{0} %i, f32[12]{0} %u), to_apply=%Add.1",
        "%i = s64[9]{0} iota(), iota_dimension=0\n"
        "  %f = f32[9]{0} scatter(f32[9]{0} %a, s64[9]{0} %i, f32[9]{0} %u), to_apply=%Add.1"),
    "gather out of range": (
        "%i = s64[600]{0} iota(), iota_dimension=0\n  %r = s64[600,1]{1,0} reshape(s64[600]{0} %i)\n"
        "  %f = f32[600,8]{1,0} gather(f32[512,8]{1,0} %a, s64[600,1]{1,0} %r)",
        "%i = s64[512]{0} iota(), iota_dimension=0\n  %r = s64[512,1]{1,0} reshape(s64[512]{0} %i)\n"
        "  %f = f32[512,8]{1,0} gather(f32[512,8]{1,0} %a, s64[512,1]{1,0} %r)"),
    "dense gather": (
        "%i = s64[60000]{0} iota(), iota_dimension=0\n"
        "  %b = s64[16,60000,8192]{2,1,0} broadcast(s64[60000]{0} %i), dimensions={1}\n"
        "  %f = pred[16,60000,8192]{2,1,0} compare(s64[16,60000,8192]{2,1,0} %b, s64[16,60000,8192]{2,1,0} %p), direction=EQ",
        "%i = s64[600]{0} iota(), iota_dimension=0\n"
        "  %b = s64[16,600,32]{2,1,0} broadcast(s64[600]{0} %i), dimensions={1}\n"
        "  %f = pred[16,600,32]{2,1,0} compare(s64[16,600,32]{2,1,0} %b, s64[16,600,32]{2,1,0} %p), direction=EQ"),
    "reduce-window, base dilated": (
        "%f = f32[2,16]{1,0} reduce-window(f32[2,16]{1,0} %x, f32[] %c), window={size=1x16 lhs_dilate=1x2}, to_apply=%Add.1",
        "%f = f32[2,16]{1,0} reduce-window(f32[2,16]{1,0} %x, f32[] %c), window={size=1x16}, to_apply=%Add.1"),
    "reduce-window, window dilated": (
        "%f = f32[2,16]{1,0} reduce-window(f32[2,16]{1,0} %x, f32[] %c), window={size=1x16 rhs_dilate=1x2}, to_apply=%Add.1",
        "%f = f32[2,16]{1,0} reduce-window(f32[2,16]{1,0} %x, f32[] %c), window={size=1x16}, to_apply=%Add.1"),
    "reduce-window of several": (
        "%f = (f32[16]{0}, s32[16]{0}) reduce-window(f32[16]{0} %x, s32[16]{0} %y, f32[] %c, s32[] %d), window={size=16}",
        "%f = f32[16]{0} reduce-window(f32[16]{0} %x, f32[] %c), window={size=16}, to_apply=%Add.1"),
    "long running sum": (
        "%f = f32[600]{0} reduce-window(f32[600]{0} %x, f32[] %c), window={size=600 pad=599_0}, to_apply=%Add.1",
        "%f = f32[16]{0} reduce-window(f32[16]{0} %x, f32[] %c), window={size=16 pad=15_0}, to_apply=%Add.1"),
    "reduction of several": (
        "%f = (f32[], s32[]) reduce(f32[16]{0} %x, s32[16]{0} %y, f32[] %c, s32[] %d), dimensions={0}",
        "%f = f32[] reduce(f32[16]{0} %x, f32[] %c), dimensions={0}, to_apply=%Add.1"),
    "arithmetic shift": (
        "%f = s64[4]{0} shift-right-arithmetic(s64[4]{0} %a, s64[4]{0} %b)",
        "%f = s32[4]{0} shift-right-arithmetic(s32[4]{0} %a, s32[4]{0} %b)"),
    "integer product": ("%f = s64[2,2]{1,0} dot(s64[2,2]{1,0} %a, s64[2,2]{1,0} %b)", "%f = f32[2,2]{1,0} dot(f32[2,2]{1,0} %a, f32[2,2]{1,0} %b)"),
    "32-bit integer product": ("%f = s32[2,2]{1,0} dot(s32[2,2]{1,0} %a, s32[2,2]{1,0} %b)", "%f = bf16[2,2]{1,0} dot(bf16[2,2]{1,0} %a, bf16[2,2]{1,0} %b)"),
    "integer all-reduce": (
        "%f = s64[3]{0} all-reduce(s64[3]{0} %g), replica_groups={}, to_apply=%Add.1",
        "%f = f32[3]{0} all-reduce(f32[3]{0} %g), replica_groups={}, to_apply=%Add.1"),
    "integer reduce-scatter": (
        "%f = s32[3]{0} reduce-scatter(s32[6]{0} %g), to_apply=%Add.1", "%f = f32[3]{0} reduce-scatter(f32[6]{0} %g), to_apply=%Add.1"),
    "integer power": ("%f = s64[4]{0} power(s64[4]{0} %a, s64[4]{0} %b)", "%f = f32[4]{0} power(f32[4]{0} %a, f32[4]{0} %b)"),
}  # fmt: skip


def graph(lines: str) -> Graph:
    return Graph.parse(f"HloModule m\n\n{ADD}\n{KEEP}\nENTRY %Main.9 (a: f32[4]) -> f32[4] {{\n  {lines}\n}}\n")


def rules_found(lines: str) -> set[str]:
    return {finding.rule for finding in check(graph(lines))}


def test_every_rule_has_its_case():
    assert {rule.name for rule in RULES} == set(CASES)


@pytest.mark.parametrize("rule", CASES)
def test_rule_fires_where_it_should_and_only_there(rule):
    broken, sound = CASES[rule]
    assert rule in rules_found(broken)
    assert rule not in rules_found(sound)


def test_a_line_is_read_whole():
    (call,) = graph(
        "ROOT %convolution.9 = f32[2,6,1,32]{3,2,1,0} convolution(f32[2,4,1,32]{3,2,1,0} %a.1, f32[6,4,1,3]{3,2,1,0} %b), "
        'window={size=1x3 pad=0_0x5_5 rhs_dilate=1x5}, dim_labels=bf01_oi01->bf01, metadata={op_type="aten__convolution" '
        'op_name="/x/layers.py_41.7/aten__convolution"}'
    ).entry
    assert (call.name, call.opcode, call.root, call.source) == ("convolution.9", "convolution", True, "/x/layers.py:41")
    assert call.results == (Array("f32", (2, 6, 1, 32)),) and call.operand_names == ("a.1", "b")
    assert call.window("rhs_dilate") == (1, 5) and call.window("stride") == ()
    assert call.attribute("dim_labels") == "bf01_oi01->bf01"


def test_one_finding_a_line_with_a_count():
    line = 'f32[4]{0} reverse(f32[4]{0} %a), dimensions={0}, metadata={op_name="f.py_3/aten__flip"}'
    (finding,) = check(graph(f"%a.1 = {line}\n  %a.2 = {line}"))
    assert (finding.count, finding.source, finding.severity) == (2, "f.py:3", "warning")
