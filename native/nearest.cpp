// Means of the nearest of some points, for many hybrid rows at once; see
// service/shapley/kernels/nearest.py.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "vectors.h"

namespace {

constexpr int CHAINS = 4;                // registers of distances that are added up side by side
constexpr int BLOCK = CHAINS * WIDTH;  // points that are compared together

// How far a column's number is from that of a point, before distances are added up.
struct Apart {
    double power;

    INLINE double operator()(double number, double point) const {
        const double distance = std::fabs(number - point);
        if (power == 2) return distance * distance;
        return power == 1 ? distance : std::pow(distance, power);
    }
};

struct Points {
    const double* columns;  // (n_columns, n_padded)
    const double* targets;  // (n_points, n_outputs)
    const int64_t* owner;   // (n_columns)
    const double* scale;    // (n_columns)
    int64_t n_points, n_padded, n_columns, n_features, n_outputs;
};

// What each feature of a row adds to the distance from each point, (n_features, n_padded).
void write_parts(const Points& points, const Apart& apart, const double* row, double* parts) {
    std::fill(parts, parts + points.n_features * points.n_padded, 0.0);
    for (int64_t column = 0; column < points.n_columns; column++) {
        const double* of_points = points.columns + column * points.n_padded;
        double* of_feature = parts + points.owner[column] * points.n_padded;
        for (int64_t p = 0; p < points.n_points; p++)
            of_feature[p] += points.scale[column] * apart(row[column], of_points[p]);
    }
}

using Near = std::pair<double, int64_t>;  // distance and position; of equals the first is nearer

// The nearest points of a hybrid row, of which each feature's part is given, as a heap.
//
// Those of the row before come in: no more than their largest distance has to be looked at.
void find_nearest(const Points& points, const double* const* parts, int64_t count, Near* nearest) {
    double farthest = 0;
    for (int64_t i = 0; i < count; i++) {
        double distance = 0;
        for (int64_t feature = 0; feature < points.n_features; feature++)
            distance += parts[feature][nearest[i].second];
        farthest = std::max(farthest, distance);
    }
    for (int64_t i = 0; i < count; i++) nearest[i] = {std::nextafter(farthest, HUGE_VAL), i};
    for (int64_t start = 0; start < points.n_padded; start += BLOCK) {
        Doubles sums[CHAINS] = {};
        for (int64_t feature = 0; feature < points.n_features; feature++)
            for (int v = 0; v < CHAINS; v++)
                sums[v] += load<Doubles>(parts[feature] + start + v * WIDTH);
        double distance[BLOCK], least[WIDTH];
        Doubles smallest = sums[0];
        for (int v = 0; v < CHAINS; v++) {
            smallest = smallest < sums[v] ? smallest : sums[v];
            store(distance + v * WIDTH, sums[v]);
        }
        store(least, smallest);
        if (*std::min_element(least, least + WIDTH) >= nearest[0].first) continue;
        const int64_t end = std::min<int64_t>(BLOCK, points.n_points - start);
        for (int64_t p = 0; p < end; p++) {
            if (distance[p] >= nearest[0].first) continue;
            std::pop_heap(nearest, nearest + count);
            nearest[count - 1] = {distance[p], start + p};
            std::push_heap(nearest, nearest + count);
        }
    }
}

// Weights of the nearest points: 1, or 1 over the distance; points at the row itself count alone.
void weigh(const Near* nearest, int64_t count, bool by_distance, double power, double* weights) {
    const bool at_point =
        by_distance && std::any_of(nearest, nearest + count, [](Near n) { return n.first == 0; });
    for (int64_t i = 0; i < count; i++) {
        const double apart = nearest[i].first;
        if (!by_distance) weights[i] = 1;
        else if (at_point) weights[i] = apart == 0;
        else weights[i] = 1 / (power == 2 ? std::sqrt(apart) : std::pow(apart, 1 / power));
    }
}

}  // namespace

// Average the targets of the nearest points of hybrid rows.
//
// columns (n_columns, n_padded), targets (n_points, n_outputs), owner, scale, row (n_columns), rows
// (n_rows, n_columns), drawn (n_hybrids), which rises, inside (n_hybrids, n_features), means
// (n_hybrids, n_outputs).
EXPORT(hybrid_means)
(const double* columns, const double* targets, const int64_t* owner, const double* scale,
 const double* row, const double* rows, const int64_t* drawn, const uint8_t* inside, double* means,
 double power, int64_t n_points, int64_t n_padded, int64_t n_columns, int64_t n_features,
 int64_t n_outputs, int64_t n_hybrids, int64_t n_nearest, int64_t by_distance) {
    const Points points{columns,  targets,   owner,      scale,    n_points,
                        n_padded, n_columns, n_features, n_outputs};
    const Apart apart{power};
    std::vector<double> of_row(n_features * n_padded), of_other(of_row.size());
    std::vector<const double*> parts(n_features);
    std::vector<Near> nearest(n_nearest);
    for (int64_t i = 0; i < n_nearest; i++) nearest[i].second = i;
    std::vector<double> weights(n_nearest);
    write_parts(points, apart, row, of_row.data());
    int64_t other = -1;
    for (int64_t hybrid = 0; hybrid < n_hybrids; hybrid++) {
        if (drawn[hybrid] != other) {
            other = drawn[hybrid];
            write_parts(points, apart, rows + other * n_columns, of_other.data());
        }
        for (int64_t feature = 0; feature < n_features; feature++) {
            const bool of_the_row = inside[hybrid * n_features + feature];
            parts[feature] = (of_the_row ? of_row : of_other).data() + feature * n_padded;
        }
        find_nearest(points, parts.data(), n_nearest, nearest.data());
        weigh(nearest.data(), n_nearest, by_distance, power, weights.data());
        double total = 0;
        double* mean = means + hybrid * n_outputs;
        std::fill(mean, mean + n_outputs, 0.0);
        for (int64_t i = 0; i < n_nearest; i++) {
            const double* target = targets + nearest[i].second * n_outputs;
            total += weights[i];
            for (int64_t k = 0; k < n_outputs; k++) mean[k] += weights[i] * target[k];
        }
        for (int64_t k = 0; k < n_outputs; k++) mean[k] /= total;
    }
}
