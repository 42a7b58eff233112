// Cosines of additive games: their exact Shapley values, and what pairs of coalitions differ by;
// see service/shapley/kernels/waves.py.
#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

namespace {

constexpr int AT_ONCE = 5;  // nodes

// As many complex numbers as a register has numbers.
struct Complex {
    Doubles real, imaginary;
};

INLINE Complex operator*(Complex a, Complex b) {
    return {a.real * b.real - a.imaginary * b.imaginary,
            a.real * b.imaginary + a.imaginary * b.real};
}

// Complex numbers of many waves, the real parts apart from the others.
struct Table {
    int64_t n_waves;
    std::vector<double> real, imaginary;

    Table(int64_t n, int64_t n_waves)
        : n_waves(n_waves), real(size_t(n * n_waves)), imaginary(size_t(n * n_waves)) {}

    INLINE Complex at(int64_t i, int64_t wave) const {
        return {load<Doubles>(&real[size_t(i * n_waves + wave)]),
                load<Doubles>(&imaginary[size_t(i * n_waves + wave)])};
    }

    INLINE void put(int64_t i, int64_t wave, Complex number) {
        store(&real[size_t(i * n_waves + wave)], number.real);
        store(&imaginary[size_t(i * n_waves + wave)], number.imaginary);
    }

    // The turns by 1, 2, ... times an angle.
    void turn(int64_t i, double angle) {
        const double cosine = std::cos(angle), sine = std::sin(angle);
        double x = cosine, y = sine;
        for (int64_t wave = 0; wave < n_waves; wave++) {
            real[size_t(i * n_waves + wave)] = x;
            imaginary[size_t(i * n_waves + wave)] = y;
            const double next = x * cosine - y * sine;
            y = x * sine + y * cosine;
            x = next;
        }
    }
};

// Multiply by 1 - t + t times a turn.
INLINE Complex multiplied(Complex product, double t, Complex turn) {
    return product * Complex{(1 - t) + t * turn.real, t * turn.imaginary};
}

// Add to the sums of all features what some nodes give them: the product of all others. Each
// product on the way through the features is waited for while those of other nodes are made.
template <int N_NODES>
void add_nodes(const Table& turns, const double* nodes, const double* shares, int64_t n_players,
               Table& before, Table& others) {
    for (int64_t wave = 0; wave < turns.n_waves; wave += WIDTH) {
        Complex products[N_NODES];
        for (int node = 0; node < N_NODES; node++)
            products[node] = {Doubles{} + shares[node], Doubles{}};
        for (int64_t j = 0; j < n_players; j++) {
            const Complex turn = turns.at(j, wave);
            for (int node = 0; node < N_NODES; node++) {
                before.put(j * N_NODES + node, 0, products[node]);
                products[node] = multiplied(products[node], nodes[node], turn);
            }
        }
        for (int node = 0; node < N_NODES; node++) products[node] = {Doubles{} + 1.0, Doubles{}};
        for (int64_t j = n_players - 1; j >= 0; j--) {
            const Complex turn = turns.at(j, wave);
            Complex sum = others.at(j, wave);
            for (int node = 0; node < N_NODES; node++) {
                const Complex both = before.at(j * N_NODES + node, 0) * products[node];
                sum = {sum.real + both.real, sum.imaginary + both.imaginary};
                products[node] = multiplied(products[node], nodes[node], turn);
            }
            others.put(j, wave, sum);
        }
    }
}

// The cosine of an angle between 0 and pi.
INLINE Doubles cosine_of(Doubles angle) {
    const Doubles x = angle - 1.5707963267948966, square = x * x;
    Doubles y = Doubles{} - 8.22063524662433e-18;
    y = y * square + 2.8114572543455206e-15;
    y = y * square - 7.647163731819816e-13;
    y = y * square + 1.6059043836821613e-10;
    y = y * square - 2.505210838544172e-08;
    y = y * square + 2.7557319223985893e-06;
    y = y * square - 0.0001984126984126984;
    y = y * square + 0.008333333333333333;
    y = y * square - 0.16666666666666666;
    y = y * square + 1.0;
    return -x * y;
}

// A sum of cosines of 1, 2, ... times an angle, by Clenshaw's recurrence.
INLINE Doubles wave_sum(Doubles cosine, const double* waves, int64_t n_waves) {
    const Doubles twice = cosine + cosine;
    Doubles now{}, later{};
    for (int64_t wave = n_waves - 1; wave >= 0; wave--) {
        const Doubles next = twice * now - later + waves[wave];
        later = now;
        now = next;
    }
    return cosine * now - later;
}

}  // namespace

// Add up the Shapley values of cosines of 1, 2, ... times additive games.
//
// start, weights (n_background), parts (n_background, n_players), nodes, shares (n_nodes), values
// (n_players, n_waves), to which is added; n_waves is a multiple of every register's width.
EXPORT(wave_values)
(const double* start, const double* parts, const double* weights, const double* nodes,
 const double* shares, double* values, int64_t n_background, int64_t n_players, int64_t n_waves,
 int64_t n_nodes) {
    Table turns(n_players, n_waves), before(n_players * AT_ONCE, WIDTH), first(1, n_waves);
    for (int64_t row = 0; row < n_background; row++) {
        Table others(n_players, n_waves);
        first.turn(0, start[row]);
        for (int64_t j = 0; j < n_players; j++) turns.turn(j, parts[row * n_players + j]);
        int64_t node = 0;
        for (; node + AT_ONCE <= n_nodes; node += AT_ONCE)
            add_nodes<AT_ONCE>(turns, nodes + node, shares + node, n_players, before, others);
        for (; node < n_nodes; node++)
            add_nodes<1>(turns, nodes + node, shares + node, n_players, before, others);
        for (int64_t j = 0; j < n_players; j++)
            for (int64_t wave = 0; wave < n_waves; wave += WIDTH) {
                const Complex turn = turns.at(j, wave);
                const Complex taken = first.at(0, wave) *
                                      Complex{turn.real - 1.0, turn.imaginary} *
                                      others.at(j, wave);
                double* to = values + j * n_waves + wave;
                store(to, load<Doubles>(to) + weights[row] * taken.real);
            }
    }
}

// Evaluate sums of cosines of additive games, the complement's taken from a coalition's.
//
// start (n_background), parts (n_background, n_players), waves (n_curves, n_waves), members
// (n_pairs, n_players), draws (n_pairs, n_draws), or of one pair for all, differences (n_pairs,
// n_draws, n_curves).
EXPORT(wave_differences)
(const double* start, const double* parts, const double* waves, const uint8_t* members,
 const int64_t* draws, double* differences, int64_t n_background, int64_t n_players,
 int64_t n_waves, int64_t n_curves, int64_t n_pairs, int64_t n_draws, int64_t draws_of_all) {
    const int64_t n_lanes = (n_players + WIDTH - 1) / WIDTH * WIDTH;
    std::vector<double> padded(size_t(n_background * n_lanes)), inside(size_t(n_lanes), 0.0);
    std::vector<double> whole(size_t(n_background), 0.0);
    for (int64_t row = 0; row < n_background; row++)
        for (int64_t j = 0; j < n_players; j++) {
            padded[size_t(row * n_lanes + j)] = parts[row * n_players + j];
            whole[size_t(row)] += parts[row * n_players + j];
        }
    double with[WIDTH] = {}, without[WIDTH] = {};
    int64_t place = 0;
    const auto evaluate = [&](int64_t count) {
        const Doubles first = cosine_of(load<Doubles>(with));
        const Doubles second = cosine_of(load<Doubles>(without));
        double* to = differences + (place - count) * n_curves;
        for (int64_t curve = 0; curve < n_curves; curve++) {
            const double* of_curve = waves + curve * n_waves;
            const Doubles gain =
                wave_sum(first, of_curve, n_waves) - wave_sum(second, of_curve, n_waves);
            for (int64_t lane = 0; lane < count; lane++) to[lane * n_curves + curve] = gain[lane];
        }
    };
    for (int64_t pair = 0; pair < n_pairs; pair++) {
        for (int64_t j = 0; j < n_players; j++)
            inside[size_t(j)] = members[pair * n_players + j];
        for (int64_t draw = 0; draw < n_draws; draw++) {
            const int64_t row = draws[(draws_of_all ? 0 : pair * n_draws) + draw];
            Doubles sums{};
            for (int64_t j = 0; j < n_lanes; j += WIDTH)
                sums += load<Doubles>(&inside[size_t(j)]) *
                        load<Doubles>(&padded[size_t(row * n_lanes + j)]);
            const double added = sum(sums);
            with[place % WIDTH] = start[row] + added;
            without[place % WIDTH] = start[row] + whole[size_t(row)] - added;
            if (++place % WIDTH == 0) evaluate(WIDTH);
        }
    }
    if (place % WIDTH) evaluate(place % WIDTH);
}
