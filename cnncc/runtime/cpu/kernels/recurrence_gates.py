"""What a recurrent network does with the sums of its gates: from one vector of units to their new state."""


def build_function(name: str):
    """The compiled-code function ``(x: Vec, a: float32, b: float32) -> Vec`` of a gate."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.kernels.recurrence import FUNCTIONS, OWN_FUNCTIONS
    from cnncc.runtime.cpu.simd import absolute, where
    from cnncc.runtime.cpu.vmath import tanh

    own = {
        "affine": lambda x, a, b: x * a + b,
        "scaledtanh": lambda x, a, b: tanh(x * b) * a,
        "thresholdedrelu": lambda x, a, b: where(x < a, 0.0, x),
        "softsign": lambda x, a, b: x / (absolute(x) + 1.0),
        "none": lambda x, a, b: x,
    }
    if set(own) != {*OWN_FUNCTIONS, "none"}:
        raise AssertionError("function table and list differ")
    return register_jitable(own[name]) if name in own else build_activation(FUNCTIONS[name])


def build_finish(kind: str, sweep: int, lanes: int, blocks: int, functions: tuple[str, str, str], peepholes: int,
                 coupled: int, word: dict[str, int]):  # fmt: skip
    """``finish(args, d, unit, left, x, sums, old, new, rest)`` for the vector of units ``unit ..`` of one sequence.

    ``x`` is the address of the input's products of its first gate, of which ``left`` are valid; ``sums`` that of
    the recurrent ones; ``old``, ``new`` and ``rest`` those of h, its successor (in a GRU's first sweep r * h), and c
    or z.
    """
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_i64, word_float
    from cnncc.runtime.cpu.simd import fma, load, load_first, maximum, minimum, store

    f, g, last = (build_function(name) for name in functions)
    B, P, HIDDEN, PITCH, CLIP = (word[name] for name in ("b", "p", "hidden", "pitch", "clip"))
    biases = {"rnn": 1, "gru": 3, "gru_linear": 4, "lstm": 4}[kind]
    F, DIRECTION = word["f_a_0"], word["f_a_1"] - word["f_a_0"]
    between = 4 * lanes * blocks  # bytes from one gate's sums to the next

    @register_jitable
    def parameter(args, d, number):
        return word_float(load_i64(args + F + d * DIRECTION + 8 * number))

    @register_jitable
    def bias(args, d, unit, row):
        return load(load_i64(args + B) + (d * biases + row) * load_i64(args + PITCH) + 4 * unit, lanes)

    @register_jitable
    def of_input(args, x, gate, left):
        return load_first(x + 4 * gate * load_i64(args + HIDDEN), left, lanes)

    @register_jitable
    def bounded(args, value):
        clip = word_float(load_i64(args + CLIP))
        return minimum(clip, maximum(-clip, value))

    @register_jitable
    def total(args, d, unit, left, x, sums, gate, row):
        """What goes into a gate but for peepholes: ``gate`` counts in X, ``row`` in the sweep's sums."""
        return of_input(args, x, gate, left) + load(sums + row * between, lanes) + bias(args, d, unit, gate)

    @register_jitable
    def peep(args, d, unit, row, value, c):
        if not peepholes:
            return value
        return fma(load(load_i64(args + P) + (3 * d + row) * load_i64(args + PITCH) + 4 * unit, lanes), c, value)

    @register_jitable
    def mixed(args, d, z, value, old):
        """The new h of a GRU: (1 - z) * g(value) + z * h."""
        candidate = g(bounded(args, value), parameter(args, d, 2), parameter(args, d, 3))
        return fma(z, load(old, lanes) - candidate, candidate)

    @register_jitable
    def gate_of(args, d, value):
        return f(bounded(args, value), parameter(args, d, 0), parameter(args, d, 1))

    def rnn(args, d, unit, left, x, sums, old, new, rest):
        store(new, gate_of(args, d, total(args, d, unit, left, x, sums, 0, 0)))

    def lstm(args, d, unit, left, x, sums, old, new, rest):
        c = load(rest, lanes)
        i = gate_of(args, d, peep(args, d, unit, 0, total(args, d, unit, left, x, sums, 0, 0), c))
        if coupled:
            forget = 1.0 - i
        else:
            forget = gate_of(args, d, peep(args, d, unit, 2, total(args, d, unit, left, x, sums, 2, 2), c))
        value = bounded(args, total(args, d, unit, left, x, sums, 3, 3))
        c = fma(forget, c, i * g(value, parameter(args, d, 2), parameter(args, d, 3)))
        store(rest, c)
        o = gate_of(args, d, peep(args, d, unit, 1, total(args, d, unit, left, x, sums, 1, 1), c))
        store(new, o * last(c, parameter(args, d, 4), parameter(args, d, 5)))

    def gru_linear(args, d, unit, left, x, sums, old, new, rest):
        z = gate_of(args, d, total(args, d, unit, left, x, sums, 0, 0))
        r = gate_of(args, d, total(args, d, unit, left, x, sums, 1, 1))
        inner = load(sums + 2 * between, lanes) + bias(args, d, unit, 3)
        value = fma(r, inner, of_input(args, x, 2, left) + bias(args, d, unit, 2))
        store(new, mixed(args, d, z, value, old))

    def gru_gates(args, d, unit, left, x, sums, old, new, rest):
        store(rest, gate_of(args, d, total(args, d, unit, left, x, sums, 0, 0)))
        store(new, gate_of(args, d, total(args, d, unit, left, x, sums, 1, 1)) * load(old, lanes))

    def gru_state(args, d, unit, left, x, sums, old, new, rest):
        store(new, mixed(args, d, load(rest, lanes), total(args, d, unit, left, x, sums, 2, 0), old))

    table = {("rnn", 0): rnn, ("lstm", 0): lstm, ("gru_linear", 0): gru_linear, ("gru", 0): gru_gates,
             ("gru", 1): gru_state}  # fmt: skip
    return register_jitable(table[kind, sweep])
