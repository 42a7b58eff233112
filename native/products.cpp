// Kernel machines with a product kernel: exact Shapley values of the margins. The formulas are those
// of service/shapley/products.py.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "vectors.h"

namespace {

constexpr int GROUP = 16;  // support vectors that lie side by side
constexpr int AT_ONCE = 6;  // nodes whose products stay in registers

// The error of a term's quadrature, by what is negligible: with it all terms together are off by at
// most 16 times what is left out, 2e-13 of the largest possible margin.
constexpr double QUADRATURE = 16;

// Nodes and weights on (0, 1), one rule after another, with how many nodes each has; the last rule
// is exact.
struct Rules {
    const double* nodes;
    const double* weights;
    const int64_t* counts;
    int n_rules;
};

// On the ellipse with foci 0 and 1 and the sum of semi-axes rho/2, a factor q + t (p - q) is at
// most 1 + |p - q| d with d = ((rho + 1/rho)/2 - 1)/2, so the integrand is at most
// exp(d sum |p - q|), and the error of n nodes at most 32/15 of that times
// rho^(-2n) / (1 - rho^-2) (Trefethen, "Approximation Theory and Approximation Practice", 2013,
// theorem 19.3).
struct Ellipse {
    double d, start, nodes;  // as many for each power of e

    explicit Ellipse(double rho)
        : d(((rho + 1 / rho) / 2 - 1) / 2),
          start(std::log(32.0 / 15 / (1 - 1 / (rho * rho)))),
          nodes(1 / (2 * std::log(rho))) {}
};

// How many nodes each term needs so that its error is below QUADRATURE times what is negligible,
// at most; `excess` is the logarithm of its weight, by what is negligible.
template <int LANES, typename Vector>
INLINE double count_nodes(const double* excess, Vector steep) {
    static const Ellipse ELLIPSES[] = {Ellipse(1.2), Ellipse(1.5), Ellipse(2), Ellipse(3),
                                       Ellipse(4),   Ellipse(6),   Ellipse(8), Ellipse(12),
                                       Ellipse(18),  Ellipse(30)};
    static const double allowed = std::log(QUADRATURE);
    double fewest[LANES], steepness[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        fewest[lane] = HUGE_VAL;
        steepness[lane] = steep[lane];
    }
    for (const Ellipse& ellipse : ELLIPSES) {
        const double start = ellipse.start - allowed;
        for (int lane = 0; lane < LANES; lane++) {
            const double needed = (start + excess[lane] + ellipse.d * steepness[lane]) * ellipse.nodes;
            fewest[lane] = needed < fewest[lane] ? needed : fewest[lane];
        }
    }
    return *std::max_element(fewest, fewest + LANES);
}

// The largest |log p - log q| of a feature that is taken for flat. With r = log p - log q and
// u = t - 1/2 its factor q + t (p - q) is sqrt(p q) exp(r u + (1/8 - u^2/2) r^2), but for terms of r^3
// and r^4, and (p - q) / (q + t (p - q)) is r (1 - r u), but for terms of r^3.
template <typename Number>
constexpr Number FLAT = sizeof(Number) == sizeof(double) ? 1.0 / (1 << 17) : 1.0 / (1 << 8);

// Terms that are integrated side by side, in one register: a background row with neighbouring
// support vectors. From some feature on all are flat.
template <typename Vector>
struct Block {
    int n_steep;
    std::vector<Vector> slope, integral;  // (n_features)
    std::vector<Vector> before;           // (n_features, AT_ONCE)
    Vector total, size, squares;          // sums of r, |r| and r^2 over the flat features

    explicit Block(int n) : slope(n), integral(n), before(size_t(n) * AT_ONCE) {}
};

// Add some nodes' part of the integral of prod_{l != j} (q_l + t (p_l - q_l)) for each j. The larger
// of p and q is 1, so that the slope p - q tells both.
template <int N, typename Number, typename Vector>
void add_nodes(Block<Vector>& block, const double* nodes, const double* weights) {
    const int n = int(block.slope.size()), n_steep = block.n_steep;
    const Vector *slope = block.slope.data(), none{};
    Vector *integral = block.integral.data(), *before = block.before.data();
    Vector t[N], running[N], after[N];
    for (int k = 0; k < N; k++) {
        const Number u = Number(nodes[k] - 0.5);
        const Vector flat = u * block.total - block.size / 2 + (Number(0.125) - u * u / 2) * block.squares;
        t[k] = none + Number(nodes[k]);
        running[k] = Number(weights[k]) * exponential(flat);
        after[k] = none + Number(1);
    }
    for (int j = 0; j < n_steep; j++) {
        const Vector q = Number(1) - larger(slope[j], none);
        for (int k = 0; k < N; k++) {
            before[j * N + k] = running[k];
            running[k] *= q + t[k] * slope[j];
        }
    }
    Vector mean{}, tilt{};
    for (int k = 0; k < N; k++) {
        mean += running[k];
        tilt += (t[k] - Number(0.5)) * running[k];
    }
    for (int j = n_steep; j < n; j++) integral[j] += mean - slope[j] * tilt;
    for (int j = n_steep - 1; j >= 0; j--) {
        const Vector q = Number(1) - larger(slope[j], none);
        Vector all = integral[j];
        for (int k = 0; k < N; k++) {
            all += before[j * N + k] * after[k];
            after[k] *= q + t[k] * slope[j];
        }
        integral[j] = all;
    }
}

template <typename Number, typename Vector>
void integrate(Block<Vector>& block, const Rules& rules, double needed) {
    const double *nodes = rules.nodes, *weights = rules.weights;
    int rule = 0;
    for (; rule < rules.n_rules - 1 && double(rules.counts[rule]) < needed; rule++) {
        nodes += rules.counts[rule];
        weights += rules.counts[rule];
    }
    std::fill(block.integral.begin(), block.integral.end(), Vector{});
    for (int left = int(rules.counts[rule]); left > 0;) {
        const int passes = (left + AT_ONCE - 1) / AT_ONCE, count = (left + passes - 1) / passes;
        switch (count) {
            case 1: add_nodes<1, Number>(block, nodes, weights); break;
            case 2: add_nodes<2, Number>(block, nodes, weights); break;
            case 3: add_nodes<3, Number>(block, nodes, weights); break;
            case 4: add_nodes<4, Number>(block, nodes, weights); break;
            case 5: add_nodes<5, Number>(block, nodes, weights); break;
            default: add_nodes<AT_ONCE, Number>(block, nodes, weights);
        }
        nodes += count;
        weights += count;
        left -= count;
    }
}

// Support vectors side by side, scaled so that log k_j(x_j, s_j) = -sum |x - s|^power over the columns
// of feature j. The features that tell most of them apart come first, and support vectors that are
// alike in the first one are neighbours: so few columns show that none of a register matters.
struct Machine {
    int n_features, n_columns, n_support;  // as many support vectors as fill whole groups
    std::vector<int> features;             // (n_features): the feature of each place
    std::vector<int> starts;               // (n_features + 1): where the columns of each place begin
    std::vector<int64_t> columns;          // (n_columns): of a row
    std::vector<double> scale;             // (n_columns)
    std::vector<int> order;                // of the support vectors
    std::vector<double> support;           // (n_support / GROUP, n_columns, GROUP)

    // A row's columns, scaled.
    void write_scaled(const double* row, double* scaled) const {
        for (int c = 0; c < n_columns; c++) scaled[c] = row[columns[c]] * scale[c];
    }

    // The logarithms of the factors of the feature at a place, for neighbours from `s` on.
    template <bool squared, int PARTS>
    INLINE void write_logarithms(const double* row, int s, int place, Doubles* logarithms) const {
        const double* from = &support[size_t(s / GROUP) * n_columns * GROUP + s % GROUP];
        for (int part = 0; part < PARTS; part++) logarithms[part] = Doubles{};
        for (int c = starts[place]; c < starts[place + 1]; c++) {
#pragma GCC unroll 8
            for (int part = 0; part < PARTS; part++) {
                const Doubles distance = row[c] - load<Doubles>(from + c * GROUP + part * WIDTH);
                logarithms[part] -= squared ? distance * distance : magnitude(distance);
            }
        }
    }
};

std::vector<int> count_up(size_t n) {
    std::vector<int> numbers(n);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
}

// support (n, n_columns), order (n_columns): columns by feature, starts (n_features + 1).
Machine lay_out(const double* support, const int64_t* order, const int64_t* starts,
                const double* scale, int n, int n_columns, int n_features) {
    Machine machine;
    machine.n_features = n_features, machine.n_columns = n_columns;
    machine.n_support = (n + GROUP - 1) / GROUP * GROUP;
    std::vector<double> mean(n_columns), spread(n_features);
    for (int s = 0; s < n; s++)
        for (int c = 0; c < n_columns; c++) mean[c] += support[size_t(s) * n_columns + c] / n;
    for (int s = 0; s < n; s++)
        for (int j = 0; j < n_features; j++)
            for (int64_t i = starts[j]; i < starts[j + 1]; i++) {
                const int64_t c = order[i];
                spread[j] += std::abs(support[size_t(s) * n_columns + c] - mean[c]) * scale[c];
            }
    machine.features = count_up(n_features);
    std::stable_sort(machine.features.begin(), machine.features.end(),
                     [&](int a, int b) { return spread[a] > spread[b]; });
    machine.starts.push_back(0);
    for (int j : machine.features) {
        machine.columns.insert(machine.columns.end(), order + starts[j], order + starts[j + 1]);
        machine.starts.push_back(int(machine.columns.size()));
    }
    for (int64_t c : machine.columns) machine.scale.push_back(scale[c]);
    machine.order = count_up(n);
    if (n_columns) {
        const double* first = support + machine.columns[0];
        std::stable_sort(
            machine.order.begin(), machine.order.end(),
            [=](int a, int b) { return first[size_t(a) * n_columns] < first[size_t(b) * n_columns]; });
    }
    machine.support.resize(size_t(machine.n_support) * n_columns);
    for (int s = 0; s < n; s++)
        for (int c = 0; c < n_columns; c++)
            machine.support[(size_t(s / GROUP) * n_columns + c) * GROUP + s % GROUP] =
                support[size_t(machine.order[s]) * n_columns + machine.columns[c]] *
                machine.scale[c];
    return machine;
}

// The game of one explained row: what is the same for all background rows.
template <bool squared, typename Number, typename Vector>
class ProductValues {
    static constexpr int LANES = sizeof(Vector) / sizeof(Number);
    static constexpr int PARTS = LANES / WIDTH;  // in double precision

    const Machine& machine;
    const Rules& rules;
    const int n, n_margins;
    std::vector<double> dual;     // (n_margins, n_support)
    std::vector<double> limits;   // (n_support): the logarithms of weights that are negligible
    std::vector<double> scaled;   // (n_columns): one row
    std::vector<Doubles> at_row;  // (n_support / LANES, n_features, PARTS)
    std::vector<Vector> sums;     // (n_margins, n_features)
    Block<Vector> block;
    double excess[LANES], weight[LANES];

   public:
    ProductValues(const Machine& machine, const double* row, const Rules& rules,
                  const double* dual_of, double negligible, int n_margins)
        : machine(machine),
          rules(rules),
          n(machine.n_features),
          n_margins(n_margins),
          dual(size_t(n_margins) * machine.n_support),
          limits(machine.n_support, HUGE_VAL),
          scaled(machine.n_columns),
          at_row(size_t(machine.n_support) / WIDTH * n),
          sums(size_t(n_margins) * n),
          block(n) {
        const size_t n_given = machine.order.size();
        for (size_t s = 0; s < n_given; s++) {
            double size = 0;
            for (int margin = 0; margin < n_margins; margin++) {
                const double of_margin = dual_of[margin * n_given + machine.order[s]];
                dual[size_t(margin) * machine.n_support + s] = of_margin;
                size = std::max(size, std::abs(of_margin));
            }
            limits[s] = std::log(negligible / size);
        }
        machine.write_scaled(row, scaled.data());
        Doubles* to = at_row.data();
        for (int s = 0; s < machine.n_support; s += LANES)
            for (int j = 0; j < n; j++, to += PARTS)
                machine.write_logarithms<squared, PARTS>(scaled.data(), s, j, to);
    }

    // Add what one background row makes of the values.
    void add(const double* other, double weight_of_other, double* values) {
        const double log_weight = std::log(weight_of_other);
        machine.write_scaled(other, scaled.data());
        std::fill(sums.begin(), sums.end(), Vector{});
        bool has_some = false;
        for (int s = 0; s < machine.n_support; s += LANES) {
            if (!compare(s, log_weight)) continue;
            integrate<Number>(block, rules, count_nodes<LANES>(excess, write_slopes()));
            sum_up(s);
            has_some = true;
        }
        if (!has_some) return;
        for (int margin = 0; margin < n_margins; margin++)
            for (int j = 0; j < n; j++)
                values[size_t(margin) * n + machine.features[j]] += sum(sums[size_t(margin) * n + j]);
    }

   private:
    // Write log p - log q of each feature into the block, and the terms' weights; false when none
    // of them matters.
    INLINE bool compare(int s, double log_weight) {
        const Doubles* here = &at_row[size_t(s) / WIDTH * n];
        Doubles largest[PARTS]{}, limit[PARTS];
        for (int part = 0; part < PARTS; part++)
            limit[part] = load<Doubles>(&limits[s + part * WIDTH]) - log_weight;
        for (int j = 0; j < n; j++, here += PARTS) {
            Doubles there[PARTS];
            machine.write_logarithms<squared, PARTS>(scaled.data(), s, j, there);
            auto* ratio = reinterpret_cast<Number*>(&block.slope[j]);
#pragma GCC unroll 8
            for (int part = 0; part < PARTS; part++) {
                largest[part] += larger(here[part], there[part]);
                store(ratio + part * WIDTH, narrow<Number>(here[part] - there[part]));
            }
            // After 1, 2, 4, 8, ... features, and in the end.
            const bool looks = (j & (j + 1)) == 0 || j == n - 1;
            if (looks && !matters(largest, limit)) return false;
        }
        for (int part = 0; part < PARTS; part++) {
            store(excess + part * WIDTH, largest[part] - limit[part]);
            store(weight + part * WIDTH, exponential(largest[part] + log_weight));
        }
        return true;
    }

    INLINE static bool matters(const Doubles* largest, const Doubles* limit) {
        Longs above = largest[0] > limit[0];
#pragma GCC unroll 8
        for (int part = 1; part < PARTS; part++) above |= largest[part] > limit[part];
        return is_any(above);
    }

    // Make slopes of the ratios that are not flat, and return the sum of their sizes.
    INLINE Vector write_slopes() {
        const Vector flat = Vector{} + FLAT<Number>;
        block.total = block.size = block.squares = Vector{};
        block.n_steep = n;
        for (; block.n_steep > 0; block.n_steep--) {
            const Vector ratio = block.slope[block.n_steep - 1];
            if (is_any(magnitude(ratio) > flat)) break;
            block.total += ratio;
            block.size += magnitude(ratio);
            block.squares += ratio * ratio;
        }
        Vector steepness = block.size;
        for (int j = 0; j < block.n_steep; j++) {
            const Vector ratio = block.slope[j];
            const Vector slope = Number(1) - exponential(-magnitude(ratio));
            block.slope[j] = ratio < 0 ? -slope : slope;
            steepness += slope;
        }
        return steepness;
    }

    INLINE void sum_up(int s) {
        for (int margin = 0; margin < n_margins; margin++) {
            const double* by = &dual[size_t(margin) * machine.n_support + s];
            Number coefficient[LANES];
            for (int lane = 0; lane < LANES; lane++)
                coefficient[lane] = Number(by[lane] * weight[lane]);
            const Vector times = load<Vector>(coefficient);
            for (int j = 0; j < n; j++)
                sums[size_t(margin) * n + j] += times * block.slope[j] * block.integral[j];
        }
    }
};

template <bool squared, typename Number, typename Vector>
void add_product_values(const Machine& machine, const double* row, const double* background,
                        const double* weights, const double* dual, const Rules& rules,
                        double negligible, int n_rows, int n_margins, double* values) {
    ProductValues<squared, Number, Vector> game(machine, row, rules, dual, negligible, n_margins);
    for (int b = 0; b < n_rows; b++)
        game.add(background + size_t(b) * machine.n_columns, weights[b], values);
}

}  // namespace

// Exact Shapley values of the margins of one row.
//
// row (n_columns), background (n_rows, n_columns), weights (n_rows), support (n_support, n_columns),
// order (n_columns): the columns by feature, starts (n_features + 1): where those of each feature
// begin in it, scale (n_columns), dual (n_margins, n_support), counts (n_rules), nodes and
// quadrature (as many as counts add up to), values (n_margins, n_features), to which is added. Terms
// are chosen in double precision, and integrated in single precision where that is asked for.
EXPORT(product_values)
(const double* row, const double* background, const double* weights, const double* support,
 const int64_t* order, const int64_t* starts, const double* scale, const double* dual,
 const int64_t* counts, const double* nodes, const double* quadrature, double* values,
 double negligible, int64_t is_single, int64_t power, int64_t n_rules, int64_t n_rows,
 int64_t n_columns, int64_t n_features, int64_t n_support, int64_t n_margins) {
    const Rules rules{nodes, quadrature, counts, int(n_rules)};
    const Machine machine = lay_out(support, order, starts, scale, int(n_support), int(n_columns),
                                    int(n_features));
    const auto in_single = power == 2 ? add_product_values<true, float, Floats>
                                      : add_product_values<false, float, Floats>;
    const auto in_double = power == 2 ? add_product_values<true, double, Doubles>
                                      : add_product_values<false, double, Doubles>;
    const auto add = is_single ? in_single : in_double;
    add(machine, row, background, weights, dual, rules, negligible, int(n_rows), int(n_margins),
        values);
}
