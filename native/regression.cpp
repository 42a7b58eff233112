// The regression on a plan's pairs: products of the errors of differences, and what is solved of
// a combination of them; see service/shapley/kernels/regression.py.
#include <algorithm>
#include <vector>

#include "vectors.h"

namespace {

constexpr int AT_ONCE = 4;  // registers that add up side by side
constexpr int64_t PIECE = 512;  // numbers of a combination at once: what stays in the first cache

template <typename Number>
struct Register;
template <>
struct Register<double> {
    typedef Doubles Vector;
};
template <>
struct Register<float> {
    typedef Floats Vector;
};

// The sum of the products of two columns.
template <typename Number>
INLINE double dot(const Number* a, const Number* b, int64_t n) {
    typedef typename Register<Number>::Vector Vector;
    constexpr int64_t LANES = sizeof(Vector) / sizeof(Number);
    Vector sums[AT_ONCE] = {};
    int64_t i = 0;
    for (; i + AT_ONCE * LANES <= n; i += AT_ONCE * LANES)
        for (int k = 0; k < AT_ONCE; k++)
            sums[k] += load<Vector>(a + i + k * LANES) * load<Vector>(b + i + k * LANES);
    for (; i + LANES <= n; i += LANES) sums[0] += load<Vector>(a + i) * load<Vector>(b + i);
    if (const int rest = int(n - i))  // an array without numbers may lie nowhere
        sums[0] += load_some<Vector>(a + i, rest) * load_some<Vector>(b + i, rest);
    return double(sum((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

// Take a multiple of one column from another.
template <typename Number>
INLINE void subtract(Number* from, const Number* column, Number times, int64_t n) {
    for (int64_t i = 0; i < n; i++) from[i] -= times * column[i];
}

// The mean of a column over the draws of each pair.
template <typename Number>
std::vector<Number> average(const Number* column, int64_t n_pairs, int64_t n_draws) {
    std::vector<Number> mean(size_t(n_pairs), Number(0));
    for (Number& of_pair : mean) {
        Number total = 0;
        for (int64_t draw = 0; draw < n_draws; draw++) total += *column++;
        of_pair = total / Number(n_draws);
    }
    return mean;
}

template <typename Number>
void add_error_products(const Number* signs, const Number* projection, const double* share,
                        const Number* of_residuals, const int64_t* seen,
                        const Number* of_deviations, const Number* of_means, const Number* of_draws,
                        const Number* of_total, const Number* differences, const double* totals,
                        double* squares, double* explained, int64_t n_pairs, int64_t n_draws,
                        int64_t n, int64_t n_players, int64_t n_seen, int64_t n_controls) {
    const int64_t n_looked_at = n_seen * n_draws;
    // Of each column the errors of pairs, and behind them those of draws.
    std::vector<std::vector<Number>> means, errors;
    for (int64_t k = 0; k < n; k++) {
        means.push_back(average(differences + k * n_pairs * n_draws, n_pairs, n_draws));
        errors.push_back(means.back());
        errors.back().resize(size_t(n_pairs + n_looked_at));
    }
    // What there is of a player serves all columns before the next one's is read.
    for (int64_t j = 0; j < n_players; j++)
        for (int64_t k = 0; k < n; k++) {
            const double value = dot(projection + j * n_pairs, means[size_t(k)].data(), n_pairs) +
                                 share[j] * totals[k];
            subtract(errors[size_t(k)].data(), signs + j * n_pairs, Number(value), n_pairs);
        }
    std::vector<Number> looked_at(size_t(n_looked_at), Number(0));
    for (int64_t k = 0; k < n; k++) {
        const std::vector<Number>& mean = means[size_t(k)];
        Number* const residuals = errors[size_t(k)].data();
        Number* const deviations = residuals + n_pairs;
        for (int64_t pair = 0; pair < n_pairs; pair++) residuals[pair] *= of_residuals[pair];
        for (int64_t i = 0; i < n_seen; i++)
            for (int64_t draw = 0; draw < n_draws; draw++) {
                const Number number = differences[(k * n_pairs + seen[i]) * n_draws + draw];
                looked_at[size_t(i * n_draws + draw)] = number;
                deviations[i * n_draws + draw] =
                    of_deviations[i] * (number - mean[size_t(seen[i])]);
            }
        for (int64_t c = 0; c < n_controls; c++)
            explained[c * n + k] =
                dot(of_means + c * n_pairs, mean.data(), n_pairs) +
                dot(of_draws + c * n_looked_at, looked_at.data(), n_looked_at) +
                double(of_total[c]) * totals[k];
        for (int64_t other = 0; other <= k; other++)
            squares[k * n + other] = squares[other * n + k] =
                dot(residuals, errors[size_t(other)].data(), n_pairs + n_looked_at);
    }
}

// A combination of the columns of differences, less what controls of the draws explain of it.
template <typename Number>
std::vector<Number> combined(const Number* values, const Number* differences,
                             const double* multiples, const double* explained, int64_t n_numbers,
                             int64_t n, int64_t n_outputs, int64_t n_controls) {
    std::vector<Number> left(size_t(n_numbers), Number(0));
    for (int64_t start = 0; start < n_numbers; start += PIECE) {
        Number* const piece = left.data() + start;
        const int64_t count = std::min(PIECE, n_numbers - start);
        for (int64_t k = 0; k < n; k++)
            subtract(piece, differences + k * n_numbers + start, Number(-multiples[k * n_outputs]),
                     count);
        for (int64_t c = 0; c < n_controls; c++)
            subtract(piece, values + c * n_numbers + start, Number(explained[c * n_outputs]), count);
    }
    return left;
}

template <typename Number>
void solve_combination(const Number* signs, const double* solution, const double* share,
                       const Number* stretch, const Number* unseen, const Number* noise,
                       const Number* values, const Number* differences, const double* total,
                       const double* multiples, const double* explained, double* solved,
                       double* variances, int64_t n_pairs, int64_t n_draws, int64_t n,
                       int64_t n_outputs, int64_t n_players, int64_t n_controls) {
    std::vector<double> variance(size_t(n_pairs), 0.0), squared(variance);
    for (int64_t k = 0; k < n_outputs; k++) {
        const std::vector<Number> left =
            combined(values, differences, multiples + k, explained + k, n_pairs * n_draws, n,
                     n_outputs, n_controls);
        const std::vector<Number> of_pairs = average(left.data(), n_pairs, n_draws);
        const std::vector<double> mean(of_pairs.begin(), of_pairs.end());
        std::vector<Number> residuals(of_pairs);
        for (int64_t j = 0; j < n_players; j++) {
            const double value =
                dot(solution + j * n_pairs, mean.data(), n_pairs) + share[j] * total[k];
            solved[j * n_outputs + k] = value;
            subtract(residuals.data(), signs + j * n_pairs, Number(value), n_pairs);
        }
        const Number* draws = left.data();
        for (int64_t pair = 0; pair < n_pairs; pair++) {
            Number spread = 0;
            for (int64_t draw = 0; draw < n_draws; draw++, draws++)
                spread += (*draws - of_pairs[size_t(pair)]) * (*draws - of_pairs[size_t(pair)]);
            const Number residual = residuals[size_t(pair)] * stretch[pair];
            variance[size_t(pair)] = unseen[pair] * residual * residual + noise[pair] * spread;
        }
        for (int64_t j = 0; j < n_players; j++) {
            const double* const of_player = solution + j * n_pairs;
            for (int64_t pair = 0; pair < n_pairs; pair++)
                squared[size_t(pair)] = of_player[pair] * of_player[pair];
            variances[j * n_outputs + k] = dot(squared.data(), variance.data(), n_pairs);
        }
    }
}

}  // namespace

// Multiply the errors of differences with each other, and with those of controls of the draws.
//
// signs, projection (n_players, n_pairs), share (n_players), of_residuals (n_pairs), seen,
// of_deviations (n_seen), of_means (n_controls, n_pairs), of_draws (n_controls, n_seen * n_draws),
// of_total (n_controls), differences (n, n_pairs, n_draws), totals (n), squares (n, n), explained
// (n_controls, n).
EXPORT(error_products_double)
(const double* signs, const double* projection, const double* share, const double* of_residuals,
 const int64_t* seen, const double* of_deviations, const double* of_means, const double* of_draws,
 const double* of_total, const double* differences, const double* totals, double* squares,
 double* explained, int64_t n_pairs, int64_t n_draws, int64_t n, int64_t n_players, int64_t n_seen,
 int64_t n_controls) {
    add_error_products(signs, projection, share, of_residuals, seen, of_deviations, of_means,
                       of_draws, of_total, differences, totals, squares, explained, n_pairs,
                       n_draws, n, n_players, n_seen, n_controls);
}

EXPORT(error_products_single)
(const float* signs, const float* projection, const double* share, const float* of_residuals,
 const int64_t* seen, const float* of_deviations, const float* of_means, const float* of_draws,
 const float* of_total, const float* differences, const double* totals, double* squares,
 double* explained, int64_t n_pairs, int64_t n_draws, int64_t n, int64_t n_players, int64_t n_seen,
 int64_t n_controls) {
    add_error_products(signs, projection, share, of_residuals, seen, of_deviations, of_means,
                       of_draws, of_total, differences, totals, squares, explained, n_pairs,
                       n_draws, n, n_players, n_seen, n_controls);
}

// Solve for combinations of differences, and estimate the variances of what is solved.
//
// signs, solution (n_players, n_pairs), share (n_players), stretch, unseen, noise (n_pairs), values
// (n_controls, n_pairs * n_draws), differences (n, n_pairs, n_draws), total (n_outputs), multiples
// (n, n_outputs), explained (n_controls, n_outputs), solved, variances (n_players, n_outputs).
EXPORT(solve_combined_double)
(const double* signs, const double* solution, const double* share, const double* stretch,
 const double* unseen, const double* noise, const double* values, const double* differences,
 const double* total, const double* multiples, const double* explained, double* solved,
 double* variances, int64_t n_pairs, int64_t n_draws, int64_t n, int64_t n_outputs,
 int64_t n_players, int64_t n_controls) {
    solve_combination(signs, solution, share, stretch, unseen, noise, values, differences, total,
                      multiples, explained, solved, variances, n_pairs, n_draws, n, n_outputs,
                      n_players, n_controls);
}

EXPORT(solve_combined_single)
(const float* signs, const double* solution, const double* share, const float* stretch,
 const float* unseen, const float* noise, const float* values, const float* differences,
 const double* total, const double* multiples, const double* explained, double* solved,
 double* variances, int64_t n_pairs, int64_t n_draws, int64_t n, int64_t n_outputs,
 int64_t n_players, int64_t n_controls) {
    solve_combination(signs, solution, share, stretch, unseen, noise, values, differences, total,
                      multiples, explained, solved, variances, n_pairs, n_draws, n, n_outputs,
                      n_players, n_controls);
}
