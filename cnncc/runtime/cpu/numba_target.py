"""Numba's front end for kernels: a Python function and the functions that it calls become LLVM modules, as text.

Numba's own target for CPUs optimises each function that a kernel calls by itself, wraps it for calls from Python and C
and makes machine code of it, before it does the same with the kernel. All of that is waste here: what counts is the
kernel with everything in it, which codegen.py optimises as a whole. So kernels are compiled for a target of their own,
whose libraries keep the text of their modules and nothing else.
"""

import contextlib
import gc
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import (
    callconv,
    cgutils,
    codegen,
    compiler,
    compiler_machinery,
    cpu,
    descriptors,
    dispatcher,
    ir_utils,
    lowering,
    ssa,
    target_extension,
    typed_passes,
    typing,
    untyped_passes,
)
from numba.core.datamodel import models

from cnncc.runtime.cpu import numba_lowering

NAME = "cnncc"
RAISES = "cnncc_kernel_that_raises"  # is called where a kernel would raise
NUMBERS = (types.Number, types.Boolean)
_OPTIONS = {"nopython": True, "boundscheck": False, "error_model": "numpy", "_nrt": False}


def llvm_modules(function: Any, symbol: str, machine: llvm.TargetMachine) -> list[str]:
    """The modules that define ``symbol``, a function of int64 that calls ``function``, and all that this calls."""
    descriptor = _descriptor(machine)
    context, arguments = descriptor.target_context, (types.int64,) * function.__code__.co_argcount
    flags = compiler.Flags()
    descriptor.options.parse_as_flags(flags, _OPTIONS)
    with target_extension.target_override(NAME), _collector_paused():
        made = compiler.compile_extra(descriptor.typing_context, context, function, arguments, types.none, flags, {},
                                      pipeline_class=_Compiler)
    seen = {made.library: None}
    waiting = [made.library]
    while waiting:
        found = [library for library in waiting.pop().needed if library not in seen]
        seen.update(dict.fromkeys(found))
        waiting.extend(found)
    return [_entry(context, made.fndesc, symbol), *(text for library in seen for text in library.texts)]


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """A tenth of the time would go to going over what the compiler has made so far, all of which is still needed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _entry(context: "_Context", function: Any, symbol: str) -> str:
    module = context.create_module(symbol)
    convention = context.call_conv
    callee = ir.Function(module, convention.get_function_type(function.restype, function.argtypes),
                         function.llvm_func_name)
    word = ir.IntType(64)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * len(function.argtypes)), symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    convention.call_function(builder, callee, function.restype, function.argtypes, entry.args)
    builder.ret_void()
    return str(module)


class _Lower(lowering.Lower):
    """Numba's, without what reference counts and debuggers need: a variable begins undefined, and is just set."""

    def alloca_lltype(self, name: str, lltype: ir.Type, datamodel: Any = None) -> ir.Value:
        with self.builder.goto_entry_block():
            return self.builder.alloca(lltype, name=name)

    def storevar(self, value: ir.Value, name: str, argidx: int | None = None) -> None:
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))


@compiler_machinery.register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(typed_passes.BaseNativeLowering):
    _name = "kernel_lowering"

    @property
    def lowering_class(self) -> type:
        return _Lower


@compiler_machinery.register_pass(mutates_CFG=True, analysis_only=False)
class _ReconstructSSA(untyped_passes.ReconstructSSA):
    """Numba's, without the analysis of variables' lifetimes, which only generators and reference counts need."""

    _name = "kernel_ssa"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = ssa.reconstruct_ssa(state.func_ir)
        state.func_ir._definitions = ir_utils.build_definitions(state.func_ir.blocks)
        return True


@compiler_machinery.register_pass(mutates_CFG=True, analysis_only=False)
class _StripPhis(typed_passes.PreLowerStripPhis):
    """Numba's, likewise."""

    _name = "kernel_phis"

    def run_pass(self, state: Any) -> bool:
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        return True


PASSES = (
    untyped_passes.TranslateByteCode, untyped_passes.FixupArgs, untyped_passes.DeadBranchPrune,
    untyped_passes.GenericRewrites, _ReconstructSSA, typed_passes.NopythonTypeInference, _StripPhis, _Lowering,
    typed_passes.NoPythonBackend,
)  # fmt: skip


class _Passes(compiler_machinery.PassManager):
    """Lifetimes are not analysed after each pass either: what passes need of it, GenericRewrites does."""

    _ENFORCING = False


class _Compiler(compiler.CompilerBase):
    """Those of Numba's passes that a kernel needs."""

    def define_pipelines(self) -> list[Any]:
        manager = _Passes("kernel")
        for one in PASSES:
            manager.add_pass(one, one.__name__)
        manager.finalize()
        return [manager]


class _Library(codegen.CodeLibrary):
    """The text of a function's modules, and the libraries of the functions that it calls."""

    def __init__(self, owner: "_Codegen", name: str) -> None:
        super().__init__(owner, name)
        self.texts: list[str] = []
        self.needed: list[_Library] = []

    def add_ir_module(self, ir_module: ir.Module) -> None:
        self.texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: "_Library") -> None:
        self.needed.append(library)

    def finalize(self) -> None:
        self._finalized = True

    def get_function(self, name: str) -> Any:
        raise NotImplementedError  # asked for by wrappers and by Numba's own tools only, neither of which there is here

    get_llvm_str = get_asm_str = get_function


class _Codegen(codegen.Codegen):
    _library_class = _Library

    def __init__(self, machine: llvm.TargetMachine) -> None:
        self._target_data = machine.target_data
        self._triple = machine.triple

    def _create_empty_module(self, name: str) -> ir.Module:
        module = ir.Module(cgutils.normalize_ir_text(name))
        module.triple, module.data_layout = self._triple, str(self._target_data)
        return module

    def _add_module(self, module: Any) -> None:
        raise NotImplementedError  # what a library of machine code asks for, and no library here has any


class _Convention(callconv.BaseCallConv):
    """Functions return their values and nothing else, since kernels do not raise. Code of Numba's that raises calls
    ``RAISES``, which is found missing unless the optimiser proves that the call is never reached."""

    STATUS = callconv.Status(
        code=None, is_ok=cgutils.true_bit, is_none=cgutils.false_bit, is_error=cgutils.false_bit,
        is_stop_iteration=cgutils.false_bit, is_python_exc=cgutils.false_bit, is_user_exc=cgutils.false_bit,
        excinfoptr=None,
    )  # fmt: skip

    def get_function_type(self, restype: types.Type, argtypes: Any) -> ir.FunctionType:
        result = self.context.data_model_manager[restype].get_return_type()
        return ir.FunctionType(result, self._get_arg_packer(argtypes).argument_types)

    def get_arguments(self, func: ir.Function) -> Any:
        return func.args

    def decorate_function(self, fn: ir.Function, args: Any, fe_argtypes: Any, noalias: bool = False) -> None:
        self._get_arg_packer(fe_argtypes).assign_names(fn.args, [f"arg.{name}" for name in args])

    def call_function(self, builder: ir.IRBuilder, callee: ir.Function, resty: types.Type, argtys: Any, args: Any,
                      attrs: Any = None) -> Any:
        result = builder.call(callee, list(self._get_arg_packer(argtys).as_arguments(builder, args)))
        return self.STATUS, self.context.get_returned_value(builder, resty, result)

    def return_value(self, builder: ir.IRBuilder, retval: ir.Value) -> None:
        builder.ret(retval)

    def return_user_exc(self, builder: ir.IRBuilder, *args: Any, **options: Any) -> None:
        raises = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), RAISES)
        builder.call(raises, [])
        builder.unreachable()

    return_dynamic_user_exc = return_user_exc

    def return_status_propagate(self, builder: ir.IRBuilder, status: callconv.Status) -> None:
        """No status needs it."""

    def _make_call_helper(self, builder: ir.IRBuilder) -> None:
        """What Numba remembers exceptions in."""


class _Context(cpu.CPUContext):
    def __init__(self, typing_context: typing.Context, machine: llvm.TargetMachine) -> None:
        self._machine = machine
        self._found: dict[Any, Any] = {}
        super().__init__(typing_context, NAME)

    def init(self) -> None:
        self.is32bit = False
        self._internal_codegen = _Codegen(self._machine)

    @property
    def call_conv(self) -> _Convention:
        return _Convention(self)

    def load_additional_registries(self) -> None:
        """Numbers, tuples and loops; the functions of ``math`` and of NumPy."""
        from numba.core import optional  # noqa: F401
        from numba.cpython import builtins, mathimpl, numbers, rangeobj, tupleobj  # noqa: F401
        from numba.np import npyimpl

        self.install_registry(mathimpl.registry)
        self.install_registry(npyimpl.registry)

    def refresh(self) -> None:
        """Our own last, so that they replace Numba's."""
        super().refresh()
        self.install_registry(numba_lowering.registry)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        if (fn, sig) not in self._found:
            self._found[fn, sig] = super().get_function(fn, sig, _firstcall)
        return self._found[fn, sig]

    def pair_first(self, builder: ir.IRBuilder, val: ir.Value, ty: types.Type) -> ir.Value:
        return builder.extract_value(val, 0)

    def pair_second(self, builder: ir.IRBuilder, val: ir.Value, ty: types.Type) -> ir.Value:
        return builder.extract_value(val, 1)

    def call_internal(self, builder: ir.IRBuilder, fndesc: Any, sig: Any, args: Any) -> ir.Value:
        return self.call_internal_no_propagate(builder, fndesc, sig, args)[1]

    def post_lowering(self, mod: ir.Module, library: _Library) -> None:
        """No function needs Numba's runtime."""

    def create_cpython_wrapper(self, *args: Any, **options: Any) -> None:
        """Nor is any called from Python,"""

    def create_cfunc_wrapper(self, *args: Any, **options: Any) -> None:
        """nor from C."""

    def get_executable(self, library: _Library, fndesc: Any, env: Any) -> Any:
        """Numba's key for the function: a builtin that no other library has."""
        return library.texts.append


class _Function(types.Function):
    """Numba's type of a function, which remembers what it makes of arguments: Numba tries every rule, those for arrays
    too, each time that it comes to a call, which is several times for every call."""

    def __init__(self, template: Any) -> None:
        super().__init__(template)
        self._signatures: dict[Any, Any] = {}
        self._is_operator = getattr(self.typing_key, "__module__", None) == "_operator"

    def augment(self, other: types.Function) -> "_Function | None":
        return _Function(self.templates + other.templates) if other.typing_key == self.typing_key else None

    def get_call_type(self, context: typing.Context, args: Any, kws: Any) -> Any:
        if kws:
            return super().get_call_type(context, args, kws)
        if self._is_operator and all(isinstance(kind, NUMBERS) for kind in args):
            args = map(types.unliteral, args)
        args = tuple(args)
        if args not in self._signatures:
            self._signatures[args] = super().get_call_type(context, args, kws)
        return self._signatures[args]


models.register_default(_Function)(models.OpaqueModel)


class _Typing(typing.Context):
    def insert_global(self, gv: Any, gty: Any) -> None:
        super().insert_global(gv, _Function(gty.templates) if type(gty) is types.Function else gty)


class _Target(target_extension.CPU):
    pass


@cache
def _descriptor(machine: llvm.TargetMachine) -> Any:
    """Makes the target known to Numba."""

    class Descriptor(descriptors.TargetDescriptor):
        options = cpu.CPUTargetOptions

        @cached_property
        def typing_context(self) -> typing.Context:
            return _Typing()

        @cached_property
        def target_context(self) -> _Context:
            return _Context(self.typing_context, machine)

    class Dispatcher(dispatcher.Dispatcher):
        targetdescr: Any

    def jit(**options: Any) -> Any:
        choices = {"nopython": True, "boundscheck": False, **options}
        return lambda function: Dispatcher(function, targetoptions=choices, pipeline_class=_Compiler)

    target_extension.target_registry[NAME] = _Target
    target_extension.dispatcher_registry[_Target] = Dispatcher
    target_extension.jit_registry[_Target] = jit
    Dispatcher.targetdescr = Descriptor(NAME)
    return Dispatcher.targetdescr
