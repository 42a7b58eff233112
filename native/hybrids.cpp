// Margins of hybrid rows of kernel machines with a product kernel. The kernel with a support vector
// is a part of the explained row times a part of the background row; the first is itself a product
// over the features that are the explained row's, and is looked up a few features at a time.
#include <algorithm>
#include <vector>

#include "vectors.h"

namespace {

constexpr int FEW = 5;  // features whose products are tabulated, for every subset of them
constexpr int SUBSETS = 1 << FEW;
constexpr size_t CACHED = 1 << 18;  // bytes of such tables at once: what stays in the cache
constexpr int AHEAD = 4;  // pairs whose part of the background's table is fetched before it is used
constexpr int LINE = 64;  // bytes that come from memory together

// A part that is smaller counts for nothing: rounding adds as much to the sum of all kernels. What
// is left never multiplies to numbers that lose digits, with which processors are slow.
template <typename Number>
constexpr Number LEAST = sizeof(Number) == sizeof(double) ? 1e-16 : 1e-8f;

template <typename Number, typename Vector>
INLINE Vector cut(Vector part) {
    return part < LEAST<Number> ? Vector{} : part;  // what is no number stays none
}

struct Shape {
    int n_pairs, n_draws, n_features, n_support, n_margins;
};

// Some neighbouring support vectors, and what the explained row makes of their kernels.
template <typename Vector, typename Number>
class Block {
    static constexpr int LANES = sizeof(Vector) / sizeof(Number);

    const Shape& shape;
    const int n_groups;
    int first, count, n_registers;          // support vectors, and the registers that they fill
    std::vector<Vector> products;           // (n_groups, SUBSETS, n_registers)
    std::vector<const Vector*> of_groups;   // (n_groups): those of one coalition
    std::vector<Vector> kernels, weighted;  // (AHEAD, n_registers), (n_margins, n_registers)
    int begin[AHEAD], end[AHEAD];           // where the kernels differ from 0

   public:
    Block(const Shape& shape, int most)
        : shape(shape),
          n_groups((shape.n_features + FEW - 1) / FEW),
          products(size_t(n_groups) * SUBSETS * (most / LANES)),
          of_groups(n_groups),
          kernels(size_t(AHEAD) * (most / LANES)),
          weighted(size_t(shape.n_margins) * (most / LANES)) {}

    // Tabulate the products of a row's factors, by logarithms (n_features, n_support).
    void tabulate(const Number* logarithms, int from, int to) {
        first = from, count = to - from;
        n_registers = (count + LANES - 1) / LANES;
        for (int group = 0; group < n_groups; group++) {
            const int n_few = std::min(FEW, shape.n_features - group * FEW);
            for (int at = 0; at < n_registers; at++) {
                Vector* to_place = &products[size_t(group) * SUBSETS * n_registers + at];
                to_place[0] = Vector{} + Number(1);
                for (int few = 0; few < n_few; few++) {
                    const Number* of_feature = logarithms + size_t(group * FEW + few) * shape.n_support;
                    const Vector factor = exponential(read(of_feature, at));
                    for (int subset = 0; subset < 1 << few; subset++)
                        to_place[size_t(subset | 1 << few) * n_registers] =
                            cut<Number>(to_place[size_t(subset) * n_registers] * factor);
                }
            }
        }
    }

    // Multiply a row's part of the kernels of one pair, and fetch what it meets of the table.
    // inside (n_features), table (n_draws, n_support), reach (n_draws, 2).
    void prepare(int turn, const uint8_t* inside, const Number* table, const int32_t* reach) {
        int first_met = n_registers, last_met = 0;
        for (int draw = 0; draw < shape.n_draws; draw++) {
            first_met = std::min(first_met, start_of(reach + 2 * draw));
            last_met = std::max(last_met, end_of(reach + 2 * draw));
        }
        const Vector* kernel = multiply(turn, inside, first_met, last_met);
        while (first_met < last_met && !is_any(kernel[first_met] != Vector{})) first_met++;
        while (first_met < last_met && !is_any(kernel[last_met - 1] != Vector{})) last_met--;
        begin[turn] = first_met, end[turn] = last_met;
        for (int draw = 0; draw < shape.n_draws; draw++) {
            const Number* other = table + size_t(draw) * shape.n_support + first;
            const int from = std::max(first_met, start_of(reach + 2 * draw));
            const int to = std::min(last_met, end_of(reach + 2 * draw));
            for (int at = from * LANES; at < to * LANES; at += LINE / sizeof(Number))
                __builtin_prefetch(other + at);
        }
    }

    // Add this block's part of the margins of one pair that was prepared; margins (n_draws,
    // n_margins).
    void add(int turn, const Number* table, const int32_t* reach, const Number* dual,
             double* margins) {
        const Vector* kernel = &kernels[size_t(turn) * n_registers];
        for (int margin = 0; margin < shape.n_margins; margin++)
            for (int at = begin[turn]; at < end[turn]; at++)
                weighted[size_t(margin) * n_registers + at] =
                    kernel[at] * read(dual + size_t(margin) * shape.n_support, at);
        for (int draw = 0; draw < shape.n_draws; draw++) {
            const int from = std::max(begin[turn], start_of(reach + 2 * draw));
            const int to = std::min(end[turn], end_of(reach + 2 * draw));
            const Number* other = table + size_t(draw) * shape.n_support;
            for (int margin = 0; margin < shape.n_margins; margin++)
                margins[draw * shape.n_margins + margin] +=
                    weigh(&weighted[size_t(margin) * n_registers], other, from, to);
        }
    }

   private:
    INLINE Vector read(const Number* numbers, int at) const {
        const Number* from = numbers + first + at * LANES;
        return at < count / LANES ? load<Vector>(from) : load_some<Vector>(from, count % LANES);
    }

    // The registers in which a background row's part differs from 0.
    INLINE int start_of(const int32_t* reach) const {
        return std::clamp((reach[0] - first) / LANES, 0, n_registers);
    }
    INLINE int end_of(const int32_t* reach) const {
        return std::clamp((reach[1] - first + LANES - 1) / LANES, 0, n_registers);
    }

    INLINE const Vector* multiply(int turn, const uint8_t* inside, int from, int to) {
        Vector* kernel = &kernels[size_t(turn) * n_registers];
        for (int group = 0; group < n_groups; group++) {
            const int n_few = std::min(FEW, shape.n_features - group * FEW);
            int subset = 0;
            for (int few = 0; few < n_few; few++) subset |= inside[group * FEW + few] << few;
            of_groups[group] = &products[(size_t(group) * SUBSETS + subset) * n_registers];
        }
        for (int at = from; at < to; at++) {
            Vector product = of_groups[0][at];
            for (int group = 1; group < n_groups; group++)
                product = cut<Number>(product * of_groups[group][at]);
            kernel[at] = product;
        }
        return kernel;
    }

    INLINE double weigh(const Vector* weights, const Number* other, int from, int to) const {
        Vector parts{};
        const int whole = std::min(to, count / LANES);
        for (int at = from; at < whole; at++)
            parts += weights[at] * load<Vector>(other + first + at * LANES);
        if (from < to && whole < to) parts += weights[whole] * read(other, whole);
        return sum(parts);
    }
};

template <typename Vector, typename Number>
void add_margins(const uint8_t* inside, const Number* logarithms, const Number* table,
                 const int32_t* reach, const Number* dual, double* margins, const Shape& shape) {
    constexpr int LANES = sizeof(Vector) / sizeof(Number);
    const size_t bytes = sizeof(Number) * SUBSETS * ((shape.n_features + FEW - 1) / FEW);
    const int every = (shape.n_support + LANES - 1) / LANES;
    const int at_once = LANES * std::clamp(int(CACHED / (bytes * LANES)), 1, std::max(1, every));
    Block<Vector, Number> block(shape, at_once);
    for (int from = 0; from < shape.n_support; from += at_once) {
        block.tabulate(logarithms, from, std::min(from + at_once, shape.n_support));
        for (int pair = 0; pair < shape.n_pairs + AHEAD; pair++) {
            if (pair >= AHEAD) {
                const size_t place = size_t(pair - AHEAD) * shape.n_draws;
                block.add(pair % AHEAD, table + place * shape.n_support, reach + 2 * place, dual,
                          margins + place * shape.n_margins);
            }
            if (pair < shape.n_pairs) {
                const size_t place = size_t(pair) * shape.n_draws;
                block.prepare(pair % AHEAD, inside + size_t(pair) * shape.n_features,
                              table + place * shape.n_support, reach + 2 * place);
            }
        }
    }
}

}  // namespace

// Margins of hybrid rows without their intercepts, added to what stands there.
//
// inside (n_pairs, n_features): which features are the explained row's, 0 or 1; logarithms
// (n_features, n_support): of its factors, none above 0; table (n_pairs, n_draws, n_support): what
// background rows make of the kernels; reach (n_pairs, n_draws, 2): the first place where that is
// not 0, and the one after the last; dual (n_margins, n_support), margins (n_pairs, n_draws,
// n_margins).
EXPORT(margins_double)
(const uint8_t* inside, const double* logarithms, const double* table, const int32_t* reach,
 const double* dual, double* margins, int64_t n_pairs, int64_t n_draws, int64_t n_features,
 int64_t n_support, int64_t n_margins) {
    const Shape shape{int(n_pairs), int(n_draws), int(n_features), int(n_support), int(n_margins)};
    add_margins<Doubles>(inside, logarithms, table, reach, dual, margins, shape);
}

EXPORT(margins_single)
(const uint8_t* inside, const float* logarithms, const float* table, const int32_t* reach,
 const float* dual, double* margins, int64_t n_pairs, int64_t n_draws, int64_t n_features,
 int64_t n_support, int64_t n_margins) {
    const Shape shape{int(n_pairs), int(n_draws), int(n_features), int(n_support), int(n_margins)};
    add_margins<Floats>(inside, logarithms, table, reach, dual, margins, shape);
}
