"""Collectives are read from lines of HLO as XLA prints it for TPUs and GPUs, each counted once with the bytes of its result."""

from __future__ import annotations

import pytest

from netdef.inspect.collectives import Collective, collectives

# Of compiled programs; long attributes are shortened.
TPU = """
  %all-reduce.1 = f32[32]{0:T(128)S(1)} all-reduce(%fusion.2), channel_id=2, replica_groups=mesh['axis_0'=4] {'axis_0'}, use_global_device_ids=true, to_apply=%region_1.0.clone, metadata={op_name="jit(run)/jvp(bn)/reduce_sum"}
  %copy-start.88 = (f32[32]{0:T(128)}, f32[32]{0:T(128)S(1)}, u32[]{:S(2)}) copy-start(%all-reduce.1), backend_config={"flag_configs":[]}
  %fusion.113 = f32[32]{0:T(128)S(1)} fusion(%copy-done.148, %all-reduce.1), kind=kLoop, calls=%fused_computation.355, metadata={op_name="all-reduce(x)"}
  %all-reduce = (bf16[1024]{0:T(1024)(128)(2,1)}, bf16[]{:T(256)}) all-reduce(%get-tuple-element.8, %div.3), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%region_2.0
  %get-tuple-element.54 = bf16[1024]{0:T(1024)(128)(2,1)} get-tuple-element(%all-reduce), index=0
  %reduce_scatter.7 = bf16[256,1024]{1,0:T(8,128)(2,1)} reduce-scatter(%get-tuple-element.32), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, to_apply=%region_0.0
  ROOT %all_to_all.14 = bf16[1024,4,256]{2,0,1:T(8,128)(2,1)S(1)} all-to-all(%bitcast.15), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={1}
  %collective-permute-start = (bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)}, bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%get-tuple-element.9), channel_id=1, source_target_pairs={{0,1},{1,2}}
  %collective-permute-done = bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)} collective-permute-done(%collective-permute-start)
"""
OVERLAPPED = """
  %all-gather.5 = bf16[4096,1024]{1,0:T(8,128)(2,1)} all-gather(%param_0.9), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, frontend_attributes={chain_id="0"}
  ROOT %custom-call.1 = (bf16[1024,1024]{1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}) custom-call(%all-gather.5), custom_call_target="AsyncCollectiveStart"
  %all-gather.7 = bf16[4096,1024]{1,0:T(8,128)(2,1)S(1)} all-gather(%param_0.12), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, frontend_attributes={chain_id="0"}
  %all-gather.9 = bf16[4096,1024]{1,0:T(8,128)(2,1)} all-gather(%param_0.13), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, frontend_attributes={chain_id="0"}
  %all-gather.11 = bf16[8,2]{1,0} all-gather(%param_0.14), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, frontend_attributes={chain_id="1"}
"""
GPU = """
  %reduce-scatter-start = ((bf16[1024,1024]{1,0}), bf16[256,1024]{1,0}) reduce-scatter-start(%get-tuple-element.6.0), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}, to_apply=%region_0.0
  %reduce-scatter-done = bf16[256,1024]{1,0} reduce-scatter-done(%reduce-scatter-start)
  %all-reduce-start = bf16[1025]{0} all-reduce-start(%wrapped_concatenate), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%region_2.0
  %all-reduce-done = bf16[1025]{0} all-reduce-done(%all-reduce-start)
  %all-to-all-start = ((bf16[1024,1024]{0,1}), bf16[1024,1024]{0,1}) all-to-all-start(%bitcast.19.0), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={1}
  %all-gather-start = (bf16[1024,1024]{1,0}, bf16[4096,1024]{1,0}) all-gather-start(%param.1), channel_id=1, replica_groups={{0,1,2,3}}, dimensions={0}
  %all-gather-done = bf16[4096,1024]{1,0} all-gather-done(%all-gather-start)
  ROOT %tuple.5.0 = (bf16[4096,1024]{1,0}, bf16[1024]{0}, /*index=5*/bf16[]) tuple(%all-gather-done, %reduce-scatter-done)
"""


def test_collectives_of_a_tpu():
    assert collectives(TPU) == (
        Collective("all-reduce", 2, 32 * 4 + (1024 + 1) * 2),
        Collective("reduce-scatter", 1, 256 * 1024 * 2),
        Collective("all-to-all", 1, 1024 * 1024 * 2),
        Collective("collective-permute", 1, 1024 * 1024 * 2),
    )


def test_a_collective_that_overlaps_with_fusions_is_counted_once():
    assert collectives(OVERLAPPED) == (Collective("all-gather", 2, (4096 * 1024 + 8 * 2) * 2),)


def test_collectives_of_a_gpu_are_counted_at_their_start():
    assert collectives(GPU) == (
        Collective("all-reduce", 1, 1025 * 2),
        Collective("all-gather", 1, 4096 * 1024 * 2),
        Collective("reduce-scatter", 1, 256 * 1024 * 2),
        Collective("all-to-all", 1, 1024 * 1024 * 2),
    )


@pytest.mark.parametrize(
    "result, size",
    [
        ("pred[3]", 3),
        ("s8[5,2]{1,0}", 10),
        ("u4[3]", 2),
        ("f8e4m3fn[7]", 7),
        ("c64[2]", 16),
        ("f64[]", 8),
        ("f32[0,4]", 0),
        ("(f32[2], /*index=1*/(bf16[3], token[]))", 14),
    ],
)
def test_bytes_of_a_result(result: str, size: int):
    assert collectives(f"  %a = {result} all-reduce(%b), to_apply=%c") == (Collective("all-reduce", 1, size),)


def test_tuples_of_operands_are_not_counted():
    line = "  %a = ((f32[2], f32[3]{0:T(128)}), (f32[8]{0}, f32[12]), u32[]) all-gather-start(%b, %c), dimensions={0}"
    assert collectives(line) == (Collective("all-gather", 1, 80),)


def test_programs_without_collectives():
    assert (
        collectives("") == collectives("ENTRY %main (a: f32[2]) -> f32[2] {\n  ROOT %a = f32[2] parameter(0)\n}") == ()
    )
