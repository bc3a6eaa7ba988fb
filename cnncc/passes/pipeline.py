"""The passes by name, and the order in which each optimisation level runs them."""

from __future__ import annotations

from .bound_suppression import bound_suppression
from .canonicalize import canonicalize
from .eliminate_common_subexpressions import eliminate_common_subexpressions
from .eliminate_dead_nodes import eliminate_dead_nodes
from .eliminate_identities import eliminate_identities
from .expand_attention_cache import expand_attention_cache
from .expand_einsum import expand_einsum
from .expand_quantized import expand_quantized
from .expand_rotary_embedding import expand_rotary_embedding
from .flush_subnormal_weights import flush_subnormal_weights
from .fold_batch_norm import fold_batch_norm
from .fold_constants import fold_constants
from .fold_linear import fold_linear
from .fold_scale import fold_scale
from .fold_shape_arithmetic import fold_shape_arithmetic
from .fuse_activation import fuse_activation
from .fuse_attention import fuse_attention
from .fuse_depthwise import fuse_depthwise
from .fuse_elementwise import fuse_elementwise
from .fuse_integer_scale import fuse_integer_scale
from .fuse_pad import fuse_pad
from .fuse_quantized import fuse_quantized
from .fuse_residual import fuse_residual
from .inline_bodies import inline_bodies
from .join_attention_heads import join_attention_heads
from .manager import Pass, Pipeline
from .move_dequantize import move_dequantize
from .project_recurrent_inputs import project_recurrent_inputs
from .recognize_activations import recognize_activations
from .recognize_depth_to_space import recognize_depth_to_space
from .recognize_group_normalization import recognize_group_normalization
from .recognize_normalization import recognize_normalization
from .recognize_space_to_depth import recognize_space_to_depth
from .resolve_auto_pad import resolve_auto_pad
from .simplify_bodies import simplify_bodies
from .simplify_reshapes import simplify_reshapes
from .sink_transposes import sink_transposes
from .widen_float16 import widen_float16

__all__ = ["PASSES", "PIPELINES", "TARGETS"]

PASSES: dict[str, Pass] = {one.__name__: one for one in (
    bound_suppression,
    canonicalize,
    eliminate_common_subexpressions,
    eliminate_dead_nodes,
    eliminate_identities,
    expand_attention_cache,
    expand_einsum,
    expand_quantized,
    expand_rotary_embedding,
    flush_subnormal_weights,
    fold_batch_norm,
    fold_constants,
    fold_linear,
    fold_scale,
    fold_shape_arithmetic,
    fuse_activation,
    fuse_attention,
    fuse_depthwise,
    fuse_elementwise,
    fuse_integer_scale,
    fuse_pad,
    fuse_quantized,
    fuse_residual,
    inline_bodies,
    join_attention_heads,
    move_dequantize,
    project_recurrent_inputs,
    recognize_activations,
    recognize_depth_to_space,
    recognize_group_normalization,
    recognize_normalization,
    recognize_space_to_depth,
    resolve_auto_pad,
    simplify_bodies,
    simplify_reshapes,
    sink_transposes,
    widen_float16,
)}

# What a graph needs to run at all: shapes and weights settled, nothing computed in vain.
_SETTLE: Pipeline = (
    inline_bodies,
    simplify_bodies,
    fold_shape_arithmetic,
    fold_constants,
    eliminate_dead_nodes,
)

# Quantised graphs on integers, while DequantizeLinears of weights are still there to tell.
_QUANTIZE: Pipeline = (
    fold_shape_arithmetic,
    (
        move_dequantize,
        fuse_quantized,
    ),
)

# Before clean-ups: what later passes take for granted.
_PREPARE: Pipeline = (
    inline_bodies,
    simplify_bodies,
    expand_rotary_embedding,
    bound_suppression,
    widen_float16,
    expand_attention_cache,
    expand_einsum,
    fold_shape_arithmetic,
    fold_constants,
    resolve_auto_pad,
    project_recurrent_inputs,
)

# Clean-ups: the same computation, written in the shortest way.
_CLEAN: Pipeline = (
    (
        inline_bodies,
        simplify_bodies,
        eliminate_dead_nodes,
        eliminate_identities,
        simplify_reshapes,
        eliminate_common_subexpressions,
    ),
)

# Fusions: several operators in one. Weights first, then what a Conv does to its sum in order: residual, activation.
_FUSE: Pipeline = (
    (
        sink_transposes,
        simplify_reshapes,
        eliminate_identities,
    ),
    recognize_space_to_depth,
    recognize_depth_to_space,
    recognize_normalization,
    recognize_group_normalization,
    fuse_attention,
    simplify_reshapes,
    join_attention_heads,
    simplify_reshapes,
    canonicalize,
    recognize_activations,
    fuse_pad,
    (
        fold_batch_norm,
        fold_scale,
        fold_linear,
    ),
    flush_subnormal_weights,
    fuse_integer_scale,
    fuse_residual,
    fuse_activation,
    expand_quantized,
    eliminate_common_subexpressions,
    eliminate_dead_nodes,
)

# What -O0, -O1 and -O2 run. Transposes sink for the first time while those of axes of size 1 are not Reshapes yet.
PIPELINES: dict[int, Pipeline] = {
    0: _SETTLE,
    1: (*_PREPARE, *_CLEAN),
    2: (*_QUANTIZE, *_PREPARE, sink_transposes, *_CLEAN, *_FUSE),
}

# What a target has done after -O2, because its kernels ask for it.
TARGETS: dict[str, Pipeline] = {
    "cpu": (fuse_depthwise,),
    "cuda": (fuse_elementwise,),
}
