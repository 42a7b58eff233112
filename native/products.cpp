// Kernel machines with a product kernel: exact Shapley values of the margins, and the margins of
// hybrid rows. The formulas are those of service/shapley/products.py.
#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

namespace {

constexpr int GROUP = 8;               // support vectors that lie side by side
constexpr int LANES = 16;               // terms that are integrated side by side
constexpr int CHAINS = LANES / WIDTH;  // registers of them: none waits for another's multiplication

// The error of a term's quadrature, by what is negligible: with it all terms together are off by at
// most 16 times what is left out, 2e-13 of the largest possible margin.
constexpr double QUADRATURE = 16;

// Terms, a background row with a support vector each, until a block of them is full.
struct Block {
    int n_features;
    int count = 0;
    double heaviest = 0;                // the largest weight of them
    std::vector<double> ratio;          // (n_features, LANES): log p - log q
    std::vector<double> slope, before;  // (n_features, LANES)
    std::vector<double> integral, factor;
    double bound[LANES];
    int64_t support[LANES];

    explicit Block(int n)
        : n_features(n),
          ratio(size_t(n) * LANES),
          slope(size_t(n) * LANES),
          before(size_t(n) * LANES),
          integral(size_t(n) * LANES),
          factor(size_t(n) * LANES) {}
};

// Nodes and weights on (0, 1), one rule after another, with how many nodes each has; the last rule
// is exact.
struct Rules {
    const double* nodes;
    const double* weights;
    const int64_t* counts;
    int n_rules;
};

// How many nodes have an error below `allowed`, relative to the weight of a term; never more than
// are exact.
//
// On the ellipse with foci 0 and 1 and the sum of semi-axes rho/2, a factor q + t (p - q) is at
// most 1 + |p - q| d with d = ((rho + 1/rho)/2 - 1)/2, so the integrand is at most
// exp(d sum |p - q|), and the error of n nodes at most 32/15 of that times
// rho^(-2n) / (1 - rho^-2) (Trefethen, "Approximation Theory and Approximation Practice", 2013,
// theorem 19.3).
INLINE double count_nodes(double steepness, double allowed, double exact) {
    static const double RHO[] = {1.2, 1.5, 2, 3, 4, 6, 8, 12, 18, 30};
    double fewest = exact;
    if (!(allowed > 0)) return fewest;
    for (double rho : RHO) {
        const double d = ((rho + 1 / rho) / 2 - 1) / 2;
        const double needed =
            (std::log(32.0 / 15 / (1 - 1 / (rho * rho))) - std::log(allowed) + d * steepness) /
            (2 * std::log(rho));
        fewest = std::min(fewest, needed);
    }
    return fewest;
}

// Integrate (p_j - q_j) prod_{l != j} (q_l + t (p_l - q_l)) for the terms of a block, and add them.
void integrate(Block& block, const Rules& rules, double negligible, const double* dual,
               int n_margins, int n_support, double* values) {
    const int n = block.n_features;
    for (int lane = block.count; lane < LANES; lane++) {
        block.bound[lane] = 0;
        block.support[lane] = 0;
        for (int j = 0; j < n; j++) block.ratio[j * LANES + lane] = 0;
    }
    // One of p and q is 1, the other the exponential; so the slope tells both.
    double steepness[LANES] = {};
    for (int j = 0; j < n; j++) {
        for (int v = 0; v < CHAINS; v++) {
            const int at = j * LANES + v * WIDTH;
            const Doubles ratio = load<Doubles>(&block.ratio[at]);
            const Doubles other = 1.0 - exponential(-magnitude(ratio));
            store(&block.slope[at], ratio < 0 ? -other : other);
            store(&block.integral[at], Doubles{});
            store(&steepness[v * WIDTH], load<Doubles>(&steepness[v * WIDTH]) + other);
        }
    }
    const double steepest = *std::max_element(steepness, steepness + LANES);
    const double needed = count_nodes(steepest, QUADRATURE * negligible / block.heaviest,
                                      double(rules.counts[rules.n_rules - 1]));
    const double *nodes = rules.nodes, *weights = rules.weights;
    int rule = 0;
    for (; rule < rules.n_rules - 1 && double(rules.counts[rule]) < needed; rule++) {
        nodes += rules.counts[rule];
        weights += rules.counts[rule];
    }
    const int n_nodes = int(rules.counts[rule]);
    for (int node = 0; node < n_nodes; node++) {
        const double t = nodes[node];
        Doubles running[CHAINS];
        for (int v = 0; v < CHAINS; v++) running[v] = Doubles{} + weights[node];
        for (int j = 0; j < n; j++) {
            for (int v = 0; v < CHAINS; v++) {
                const int at = j * LANES + v * WIDTH;
                const Doubles slope = load<Doubles>(&block.slope[at]);
                const Doubles q = slope < 0 ? Doubles{} + 1.0 : 1.0 - slope;
                const Doubles factor = q + t * slope;
                store(&block.factor[at], factor);
                store(&block.before[at], running[v]);
                running[v] *= factor;
            }
        }
        Doubles after[CHAINS];
        for (int v = 0; v < CHAINS; v++) after[v] = Doubles{} + 1.0;
        for (int j = n - 1; j >= 0; j--) {
            for (int v = 0; v < CHAINS; v++) {
                const int at = j * LANES + v * WIDTH;
                const Doubles product = load<Doubles>(&block.before[at]) * after[v];
                store(&block.integral[at], load<Doubles>(&block.integral[at]) + product);
                after[v] *= load<Doubles>(&block.factor[at]);
            }
        }
    }
    for (int margin = 0; margin < n_margins; margin++) {
        double coefficient[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            coefficient[lane] =
                dual[size_t(margin) * n_support + block.support[lane]] * block.bound[lane];
        }
        for (int j = 0; j < n; j++) {
            Doubles part{};
            for (int v = 0; v < CHAINS; v++) {
                const int at = j * LANES + v * WIDTH;
                part += load<Doubles>(&coefficient[v * WIDTH]) * load<Doubles>(&block.slope[at]) *
                        load<Doubles>(&block.integral[at]);
            }
            values[size_t(margin) * n + j] += sum(part);
        }
    }
    block.count = 0;
    block.heaviest = 0;
}

// Columns of rows and of support vectors, scaled so that log k_j(x_j, s_j) = -sum |x - s|^power over
// the columns of feature j, which are those from starts[j] to starts[j + 1].
struct Distances {
    const double* support;  // (n_support / GROUP, n_columns, GROUP)
    const int64_t* starts;  // (n_features + 1)
    int n_columns, n_features, n_support;
};

// The logarithms of a group of support vectors' factors, (n_features, GROUP).
template <bool squared>
INLINE void write_log_factors(const Distances& distances, const double* row, int group,
                              double* factors) {
    const double* support = distances.support + size_t(group) * distances.n_columns * GROUP;
    for (int j = 0; j < distances.n_features; j++) {
        for (int v = 0; v < GROUP; v += WIDTH) {
            Doubles factor{};
            for (int64_t c = distances.starts[j]; c < distances.starts[j + 1]; c++) {
                const Doubles distance = row[c] - load<Doubles>(support + c * GROUP + v);
                factor -= squared ? distance * distance : magnitude(distance);
            }
            store(factors + size_t(j) * GROUP + v, factor);
        }
    }
}

template <bool squared>
void add_product_values(const Distances& distances, const double* row, const double* background,
                        const double* weights, const double* dual, const double* size,
                        const Rules& rules, double negligible, int n_rows, int n_margins,
                        double* values) {
    const int n = distances.n_features, n_groups = distances.n_support / GROUP;
    std::vector<double> at_row(size_t(n) * distances.n_support), other(size_t(n) * GROUP);
    Block block(n);
    for (int group = 0; group < n_groups; group++)
        write_log_factors<squared>(distances, row, group, &at_row[size_t(group) * n * GROUP]);
    for (int b = 0; b < n_rows; b++) {
        for (int group = 0; group < n_groups; group++) {
            const double* of_row = &at_row[size_t(group) * n * GROUP];
            write_log_factors<squared>(distances, background + size_t(b) * distances.n_columns,
                                       group, other.data());
            double bound[GROUP];
            for (int v = 0; v < GROUP; v += WIDTH) {
                Doubles largest{};
                for (int j = 0; j < n; j++)
                    largest += larger(load<Doubles>(of_row + j * GROUP + v),
                                      load<Doubles>(&other[j * GROUP + v]));
                store(&bound[v], exponential(largest) * weights[b]);
            }
            for (int g = 0; g < GROUP; g++) {
                const int s = group * GROUP + g;
                if (!(bound[g] * size[s] > negligible)) continue;
                const int lane = block.count++;
                block.bound[lane] = bound[g];
                block.support[lane] = s;
                block.heaviest = std::max(block.heaviest, bound[g] * size[s]);
                for (int j = 0; j < n; j++)
                    block.ratio[j * LANES + lane] = of_row[j * GROUP + g] - other[j * GROUP + g];
                if (block.count == LANES)
                    integrate(block, rules, negligible, dual, n_margins, distances.n_support,
                              values);
            }
        }
    }
    if (block.count)
        integrate(block, rules, negligible, dual, n_margins, distances.n_support, values);
}

template <typename Vector, typename Number>
void add_margins(const Number* logarithms, const Number* table, const Number* dual, int n_pairs,
                 int n_draws, int n_support, int n_margins, double* margins) {
    constexpr int width = sizeof(Vector) / sizeof(Number);
    const int whole = n_support / width * width, rest = n_support - whole;
    std::vector<Vector> kernels(n_support / width + 1), weighted(kernels.size());
    for (int pair = 0; pair < n_pairs; pair++) {
        const Number* of_pair = logarithms + size_t(pair) * n_support;
        for (int s = 0; s < whole; s += width)
            kernels[s / width] = exponential(load<Vector>(of_pair + s));
        kernels[whole / width] = exponential(load_some<Vector>(of_pair + whole, rest));
        for (int margin = 0; margin < n_margins; margin++) {
            const Number* by = dual + size_t(margin) * n_support;
            for (int s = 0; s < whole; s += width)
                weighted[s / width] = kernels[s / width] * load<Vector>(by + s);
            weighted[whole / width] =
                kernels[whole / width] * load_some<Vector>(by + whole, rest);
            for (int draw = 0; draw < n_draws; draw++) {
                const size_t place = size_t(pair) * n_draws + draw;
                const Number* other = table + place * n_support;
                Vector parts = weighted[whole / width] * load_some<Vector>(other + whole, rest);
                for (int s = 0; s < whole; s += width)
                    parts += weighted[s / width] * load<Vector>(other + s);
                margins[place * n_margins + margin] = sum(parts);
            }
        }
    }
}

}  // namespace

// Exact Shapley values of the margins of one row.
//
// row (n_columns), background (n_rows, n_columns), weights (n_rows), support (n_support / 8,
// n_columns, 8), starts (n_features + 1), dual (n_margins, n_support), size (n_support), counts
// (n_rules), nodes and quadrature (as many as counts add up to), values (n_margins, n_features), to
// which is added. n_support
// is a multiple of 8; what fills it up has the size 0.
EXPORT(product_values)
(const double* row, const double* background, const double* weights, const double* support,
 const int64_t* starts, const double* dual, const double* size, const int64_t* counts,
 const double* nodes, const double* quadrature, double* values, double negligible, int64_t power, int64_t n_rules,
 int64_t n_rows, int64_t n_columns, int64_t n_features, int64_t n_support, int64_t n_margins) {
    const Rules rules{nodes, quadrature, counts, int(n_rules)};
    const Distances distances{support, starts, int(n_columns), int(n_features), int(n_support)};
    const auto add = power == 2 ? add_product_values<true> : add_product_values<false>;
    add(distances, row, background, weights, dual, size, rules, negligible, int(n_rows),
        int(n_margins), values);
}

// Margins of hybrid rows without their intercepts: the exponential of the row's part times the
// background's part, weighted and added up over support vectors.
//
// logarithms (n_pairs, n_support), table (n_pairs, n_draws, n_support), dual (n_margins,
// n_support), margins (n_pairs, n_draws, n_margins).
EXPORT(margins_double)
(const double* logarithms, const double* table, const double* dual, double* margins,
 int64_t n_pairs, int64_t n_draws, int64_t n_support, int64_t n_margins) {
    add_margins<Doubles>(logarithms, table, dual, int(n_pairs), int(n_draws), int(n_support),
                         int(n_margins), margins);
}

EXPORT(margins_single)
(const float* logarithms, const float* table, const float* dual, double* margins, int64_t n_pairs,
 int64_t n_draws, int64_t n_support, int64_t n_margins) {
    add_margins<Floats>(logarithms, table, dual, int(n_pairs), int(n_draws), int(n_support),
                        int(n_margins), margins);
}
