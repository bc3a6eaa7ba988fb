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
    cgutils,
    codegen,
    compiler,
    compiler_machinery,
    cpu,
    descriptors,
    dispatcher,
    target_extension,
    typed_passes,
    typing,
    untyped_passes,
)
from numba.core.callconv import CPUCallConv
from numba.core.datamodel import models

NAME = "cnncc"
RAISES = "cnncc_kernel_that_raises"  # is called where a kernel would raise
NUMBERS = (types.Number, types.Boolean)
PASSES = (
    untyped_passes.TranslateByteCode, untyped_passes.FixupArgs, untyped_passes.IRProcessing,
    untyped_passes.DeadBranchPrune, untyped_passes.GenericRewrites, untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference, typed_passes.PreLowerStripPhis, typed_passes.NativeLowering,
    typed_passes.NoPythonBackend,
)  # fmt: skip
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


class _Compiler(compiler.CompilerBase):
    """Those of Numba's passes that a kernel needs."""

    def define_pipelines(self) -> list[Any]:
        manager = compiler_machinery.PassManager("kernel")
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


class _Convention(CPUCallConv):
    """Kernels do not raise, so that no call needs a check. Code of Numba's that raises calls ``RAISES``, which is found
    missing unless the optimiser proves that the call is never reached."""

    def call_function(self, *args: Any, **options: Any) -> Any:
        status, result = super().call_function(*args, **options)
        return status._replace(is_error=cgutils.false_bit), result

    def return_user_exc(self, builder: ir.IRBuilder, *args: Any, **options: Any) -> None:
        raises = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), RAISES)
        builder.call(raises, [])
        builder.unreachable()

    return_dynamic_user_exc = return_user_exc


class _Context(cpu.CPUContext):
    def __init__(self, typing_context: typing.Context, machine: llvm.TargetMachine) -> None:
        self._machine = machine
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
