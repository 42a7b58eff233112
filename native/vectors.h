// Numbers that are computed with side by side, and the exponential of them.
//
// The types are the compiler's own vector extensions, as wide as a register of the level.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

// Every source is compiled once for each level of instructions, under names of its own.
#ifndef LEVEL
#define LEVEL base
#endif
#define JOINED(name, level) name##_##level
#define NAMED(name, level) JOINED(name, level)
#define EXPORT(name) extern "C" __attribute__((visibility("default"))) void NAMED(name, LEVEL)

namespace {

// As many bytes as a register has: what is wider is taken apart into single numbers in places.
#if defined(__AVX512F__)
#define REGISTER 64
#elif defined(__AVX2__)
#define REGISTER 32
#else
#define REGISTER 16
#endif

typedef double Doubles __attribute__((vector_size(REGISTER)));
typedef int64_t Longs __attribute__((vector_size(REGISTER)));
typedef float Floats __attribute__((vector_size(REGISTER)));
typedef int32_t Ints __attribute__((vector_size(REGISTER)));

constexpr int WIDTH = REGISTER / sizeof(double);

template <typename Vector, typename Number>
INLINE Vector load(const Number* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

// The first numbers of a vector; the others are 0.
template <typename Vector, typename Number>
INLINE Vector load_some(const Number* from, int count) {
    Vector vector{};
    std::memcpy(&vector, from, count * sizeof(Number));
    return vector;
}

template <typename Vector, typename Number>
INLINE void store(Number* to, Vector vector) {
    std::memcpy(to, &vector, sizeof vector);
}

template <typename Vector>
INLINE Vector larger(Vector a, Vector b) {
    return a > b ? a : b;
}

template <typename Vector>
INLINE Vector magnitude(Vector a) {
    return a < 0 ? -a : a;
}

// Numbers of double precision in another one, as many.
template <typename Number>
INLINE auto narrow(Doubles vector) {
    typedef Number Narrow __attribute__((vector_size(WIDTH * sizeof(Number))));
    return __builtin_convertvector(vector, Narrow);
}

// Whether a comparison holds in any place.
template <typename Truths>
INLINE bool is_any(Truths truths) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask(__m512i(truths), __m512i(truths)) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256(__m256i(truths), __m256i(truths));
#else
    Longs bits;
    std::memcpy(&bits, &truths, sizeof bits);
    int64_t any = 0;
    for (int lane = 0; lane < WIDTH; lane++) any |= bits[lane];
    return any != 0;
#endif
}

// The same order of additions for every register, pairs first.
template <typename Vector>
INLINE auto sum(Vector vector) {
    constexpr int count = sizeof(Vector) / sizeof(vector[0]);
    for (int half = count / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) vector[i] += vector[i + half];
    return vector[0];
}

// exp(x) for x <= 0, to 2 units in the last place; below -708, where numbers lose digits, that of
// -708. The polynomial is exp's interpolation in Chebyshev's nodes between -log(2)/2 and log(2)/2;
// adding 1.5 * 2^52 rounds to a whole number and leaves it in the lowest bits.
INLINE Doubles exponential(Doubles x) {
    const double rounding = 6755399441055744.0;
    const Doubles least = Doubles{} - 708.0;
    x = x < least ? least : x;  // what is no number stays none
    const Doubles shifted = x * 1.4426950408889634 + rounding;
    const Doubles whole = shifted - rounding;
    const Doubles rest = (x - whole * 0.693147180369123816490) - whole * 1.90821492927058770002e-10;
    Doubles y = Doubles{} + 2.5110049204818658e-08;
    y = y * rest + 2.763265472252779e-07;
    y = y * rest + 2.755724088722987e-06;
    y = y * rest + 2.4801485441561313e-05;
    y = y * rest + 0.00019841269890076403;
    y = y * rest + 0.0013888888952352863;
    y = y * rest + 0.008333333333319589;
    y = y * rest + 0.04166666666648795;
    y = y * rest + 0.1666666666666668;
    y = y * rest + 0.5000000000000019;
    y = y * rest + 1.0;
    y = y * rest + 1.0;
    Longs bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    Doubles scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return y * scale;
}

// The same in single precision, to 3e-7 relative; below -87 that of -87.
INLINE Floats exponential(Floats x) {
    const float rounding = 12582912.0f;
    const Floats least = Floats{} - 87.0f;
    x = x < least ? least : x;
    const Floats shifted = x * 1.44269504f + rounding;
    const Floats whole = shifted - rounding;
    const Floats rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats y = Floats{} + 0.0013941118895837f;
    y = y * rest + 0.008375134774624326f;
    y = y * rest + 0.04166635277111221f;
    y = y * rest + 0.16666415414041177f;
    y = y * rest + 0.5000000047146057f;
    y = y * rest + 1.0000000377388714f;
    y = y * rest + 1.0f;
    Ints bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    Floats scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return y * scale;
}

}  // namespace
