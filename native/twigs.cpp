// Exact Shapley values of sums of decision trees, many leaves at a time; see
// service/shapley/kernels/twigs.py.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "splits.h"

namespace {

// What goes down the trees together, and stays in the cache.
constexpr int64_t ROWS_AT_ONCE = 256, STATES_AT_ONCE = 1 << 15;
// Rows that go down one after another: side by side too many places would be empty.
constexpr int64_t FEW_ROWS = 2, TWIGS_AT_ONCE = 1024;

// What a split does to states. Those of a tree are in a list, first those at its twigs, then those at
// its splits; a split takes one, adds its bit to what does not go to a side, and writes it to where
// rows go on. A split of a twig adds its bit for rows that go left to the twig's own.
struct Way {
    int32_t at, left, right, bit;

    bool is_within_twig() const { return left == at; }
};

struct Trees {
    const Split* splits;
    const Way* ways;
    Codes codes;
    const int64_t *first_split, *first_twig;  // (n_trees + 1)
    int64_t n_trees;

    // The end of the trees from `first` on that have as many twigs as may be met at once, or one.
    int64_t end_of(int64_t first, int64_t most) const {
        int64_t end = first + 1;
        while (end < n_trees && first_twig[end + 1] - first_twig[first] <= most) end++;
        return end;
    }
};

// The table of a twig; one without a table has its first number below 0.
struct Table {
    int64_t first_number;
    int32_t first_target, width;
};

// What explains rows, arrays and sizes; see classes Splits, Twigs and Counts in
// service/shapley/kernels/.
struct Known {
    const Split* splits;
    const Way* ways;
    const uint8_t* code_goes_left;
    const int64_t *first_split, *first_twig;
    const double* threshold;  // of each split, as in its record
    const int32_t* column;
    const Table* tables;
    const double* numbers;
    const int32_t* target;
    const int64_t* first_output;
    const int32_t* output;
    const int64_t* first_leaf;
    const int32_t* leaf;
    const double *value, *weights;
    const int64_t *first_pattern, *pattern;
    const double* pattern_weight;
    int64_t n_trees, n_categorical, n_codes, n_values, n_outputs, n_weights;
};
static_assert(sizeof(Known) == 25 * sizeof(int64_t), "Python writes it as whole numbers");

// Rows as they go down a tree: column by column, WIDTH rows side by side; the last row fills up.
struct Rows {
    int64_t n_rows, n_columns, n_groups;
    std::vector<double> numbers;  // (n_groups, n_columns, WIDTH)

    Rows(const double* rows, int64_t n, int64_t n_columns)
        : n_rows(n),
          n_columns(n_columns),
          n_groups((n + WIDTH - 1) / WIDTH),
          numbers(size_t(n_groups * n_columns * WIDTH)) {
        for (int64_t lane = 0; lane < n_groups * WIDTH; lane++) {
            const double* row = rows + std::min(lane, n - 1) * n_columns;
            double* to = &numbers[size_t(lane / WIDTH * n_columns * WIDTH + lane % WIDTH)];
            for (int64_t column = 0; column < n_columns; column++) to[column * WIDTH] = row[column];
        }
    }
};

// All bits are set where a row goes left.
INLINE Longs decide(const Split& split, const Codes& codes, const double* columns) {
    const Doubles x = load<Doubles>(columns + int64_t(split.column) * WIDTH);
    if (split.kind < BY_CATEGORY)
        return (x <= split.threshold) | ((x != x) & -int64_t(split.kind == MISSING_LEFT));
    Longs left{};
    for (int lane = 0; lane < WIDTH; lane++) left[lane] = -goes_left(split, codes, x[lane]);
    return left;
}

// The rows' states at all twigs of some trees, (n_twigs, WIDTH * n_groups).
class StateFinder {
    const Trees& trees;
    const Rows& rows;
    std::vector<int64_t> of_tree, found;

   public:
    StateFinder(const Trees& trees, const Rows& rows) : trees(trees), rows(rows) {}

    // The states of a tree's twigs follow those of the twigs of the tree before.
    const int64_t* find(int64_t first, int64_t end) {
        const int64_t n_lanes = rows.n_groups * WIDTH;
        found.resize(size_t((trees.first_twig[end] - trees.first_twig[first]) * n_lanes));
        int64_t* to = found.data();
        for (int64_t tree = first; tree < end; tree++) {
            const int64_t n_twigs = trees.first_twig[tree + 1] - trees.first_twig[tree];
            for (int64_t group = 0; group < rows.n_groups; group++) {
                find_some(tree, n_twigs, &rows.numbers[size_t(group * rows.n_columns * WIDTH)]);
                for (int64_t twig = 0; twig < n_twigs; twig++)
                    store(to + twig * n_lanes + group * WIDTH,
                          load<Longs>(&of_tree[size_t(twig * WIDTH)]));
            }
            to += n_twigs * n_lanes;
        }
        return found.data();
    }

   private:
    void find_some(int64_t tree, int64_t n_twigs, const double* columns) {
        const int64_t first = trees.first_split[tree], end = trees.first_split[tree + 1];
        of_tree.resize(std::max(of_tree.size(), size_t((n_twigs + end - first) * WIDTH)));
        int64_t* list = of_tree.data();
        store(list, Longs{});                                     // a root that is a twig
        if (first < end) store(list + n_twigs * WIDTH, Longs{});  // or a split above twigs
        // Parents come before their children.
        for (int64_t split = first; split < end; split++) {
            const Longs left = decide(trees.splits[split], trees.codes, columns);
            const Way& way = trees.ways[split];
            const Longs here = load<Longs>(list + way.at * WIDTH);
            const int64_t bit = int64_t(1) << way.bit;
            if (!way.is_within_twig()) store(list + way.left * WIDTH, here | (~left & bit));
            store(list + way.right * WIDTH, here | (left & bit));
        }
    }
};

// The states of one row: what all splits of a tree decide, and then what comes of it.
class RowStates {
    const Trees& trees;
    const Known& known;
    const double* row;
    bool by_threshold;  // nothing is missing, and no split is by category
    std::vector<int64_t> goes_left_at;

   public:
    RowStates(const Trees& trees, const Known& known, const double* row, int64_t n_columns)
        : trees(trees), known(known), row(row), by_threshold(known.n_categorical == 0) {
        for (int64_t j = 0; j < n_columns; j++) by_threshold &= row[j] == row[j];
    }

    // Write the states at the twigs of a tree, and behind them those at its splits.
    void find(int64_t tree, int64_t* states) {
        const int64_t first = trees.first_split[tree], end = trees.first_split[tree + 1];
        decide(first, end - first);
        // A root that is a twig, or a split above twigs.
        states[0] = states[trees.first_twig[tree + 1] - trees.first_twig[tree]] = 0;
        const int64_t* goes = goes_left_at.data();
        for (int64_t i = 0; i < end - first; i++) {
            const Way way = trees.ways[first + i];
            const int64_t here = states[way.at], bit = int64_t(1) << way.bit, left = goes[i];
            if (!way.is_within_twig()) states[way.left] = here | (~left & bit);
            states[way.right] = here | (left & bit);
        }
    }

   private:
    // All bits are set where the row goes left.
    void decide(int64_t first, int64_t n_splits) {
        goes_left_at.resize(std::max(goes_left_at.size(), size_t(n_splits)));
        int64_t* left = goes_left_at.data();
        const Split* splits = trees.splits + first;
        const double* threshold = known.threshold + first;
        const int32_t* column = known.column + first;
        if (by_threshold)
            for (int64_t i = 0; i < n_splits; i++)
                left[i] = -int64_t(row[column[i]] <= threshold[i]);
        else
            for (int64_t i = 0; i < n_splits; i++)
                left[i] = -int64_t(goes_left(splits[i], trees.codes, row[column[i]]));
    }
};

// The weight of the background rows by pattern, of one leaf; many patterns are sorted, few counted.
class Merger {
    std::vector<std::pair<int64_t, double>> sorted;
    std::vector<double> counted;

   public:
    int64_t merge(const int64_t* states, const double* weights, int64_t n_rows, int n_bits,
                  int64_t* pattern, double* weight) {
        if (n_bits < 62 && (int64_t(1) << n_bits) <= 8 * n_rows)
            return count(states, weights, n_rows, int64_t(1) << n_bits, pattern, weight);
        sorted.clear();
        for (int64_t row = 0; row < n_rows; row++) sorted.emplace_back(states[row], weights[row]);
        std::stable_sort(sorted.begin(), sorted.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        int64_t n = 0;
        for (const auto& [state, of_row] : sorted) {
            if (n == 0 || pattern[n - 1] != state) {
                pattern[n] = state;
                weight[n++] = 0;
            }
            weight[n - 1] += of_row;
        }
        return n;
    }

   private:
    int64_t count(const int64_t* states, const double* weights, int64_t n_rows, int64_t n_states,
                  int64_t* pattern, double* weight) {
        counted.assign(size_t(n_states), 0);
        for (int64_t row = 0; row < n_rows; row++) counted[size_t(states[row])] += weights[row];
        int64_t n = 0;
        for (int64_t state = 0; state < n_states; state++) {
            if (counted[size_t(state)] == 0) continue;
            pattern[n] = state;
            weight[n++] = counted[size_t(state)];
        }
        return n;
    }
};

// What the leaves of the twigs ask of a state, and what is made of it.
struct Leaves {
    const int64_t *first_state, *first_leaf, *first_slot, *flip, *mask;
    const int32_t *leaf, *place;
    const double *value, *potential;  // (n_leaves, n_outputs), (n_potential, n_potential)
    int64_t n_outputs, n_potential;
};

// The table of one leaf's answers; see potentials in service/shapley/kernels/twigs.py.
class LeafTable {
    std::vector<double> weight, sums;

   public:
    std::vector<int32_t> pattern;  // by state
    std::vector<double> whole, without;

    void fill(const Leaves& leaves, int64_t place, const double* of_states, int64_t n_states) {
        const int64_t* mask = leaves.mask + leaves.first_slot[place];
        const int n_slots = int(leaves.first_slot[place + 1] - leaves.first_slot[place]);
        const int64_t n_patterns = int64_t(1) << n_slots;
        pattern.resize(size_t(n_states));
        weight.assign(size_t(n_patterns), 0);
        for (int64_t state = 0; state < n_states; state++) {
            int32_t broken = 0;
            for (int slot = 0; slot < n_slots; slot++)
                broken |= int32_t(((state ^ leaves.flip[place]) & mask[slot]) != 0) << slot;
            pattern[size_t(state)] = broken;
            weight[size_t(broken)] += of_states[state];
        }
        whole.assign(size_t(n_patterns), 0);
        without.assign(size_t(n_patterns), 0);
        for (int n_broken = 0; n_broken <= n_slots; n_broken++) {
            add_up_subsets(n_broken, n_patterns);
            const double* of_size = leaves.potential + n_broken * leaves.n_potential;
            for (int64_t p = 0; p < n_patterns; p++) {
                const int size = __builtin_popcountll(uint64_t(p));
                const double disjoint = sums[size_t(n_patterns - 1 - p)];
                whole[size_t(p)] += of_size[size] * disjoint;
                if (p) without[size_t(p)] += of_size[size - 1] * disjoint;
            }
        }
    }

   private:
    // The weight of the patterns of so many bits that lie within each pattern.
    void add_up_subsets(int n_broken, int64_t n_patterns) {
        sums.resize(size_t(n_patterns));
        for (int64_t p = 0; p < n_patterns; p++)
            sums[size_t(p)] =
                __builtin_popcountll(uint64_t(p)) == n_broken ? weight[size_t(p)] : 0.0;
        for (int64_t half = 1; half < n_patterns; half *= 2)
            for (int64_t start = 0; start < n_patterns; start += 2 * half)
                for (int64_t p = start; p < start + half; p++)
                    sums[size_t(p + half)] += sums[size_t(p)];
    }
};

// Add what one leaf gives to its twig's table, (n_states, n_outputs of the twig, n_places).
void add_leaf(const Leaves& leaves, int64_t place, const LeafTable& of_leaf, int64_t n_states,
              const int32_t* outputs, int64_t n_outputs, int64_t n_places, double* table) {
    const int64_t first = leaves.first_slot[place];
    const int n_slots = int(leaves.first_slot[place + 1] - first);
    const double* value = leaves.value + leaves.leaf[place] * leaves.n_outputs;
    for (int64_t state = 0; state < n_states; state++, table += n_outputs * n_places) {
        const int32_t pattern = of_leaf.pattern[size_t(state)];
        const double whole = of_leaf.whole[size_t(pattern)];
        if (!(whole > 0)) continue;
        for (int slot = 0; slot < n_slots; slot++) {
            const double gain = whole - of_leaf.without[size_t(pattern | (1 << slot))];
            double* to = table + leaves.place[first + slot];
            for (int64_t k = 0; k < n_outputs; k++) to[k * n_places] += gain * value[outputs[k]];
        }
    }
}

// What a leaf without a table gives a row, feature by feature, for a value of 1.
class Meeting {
    const double* weights;  // (n_weights, n_weights)
    int64_t n_weights;
    std::vector<int64_t> met;

   public:
    double taken[64];

    Meeting(const double* weights, int64_t n_weights) : weights(weights), n_weights(n_weights) {}

    void meet(const int64_t* pattern, const double* weight, int64_t n_patterns, int64_t by_row,
              int64_t n_slots) {
        met.resize(std::max(met.size(), size_t(n_patterns) + 1));
        size_t n_met = 0;
        for (int64_t i = 0; i < n_patterns; i++) {
            met[n_met] = i;
            n_met += (pattern[i] & by_row) == 0;
        }
        const int v = __builtin_popcountll(uint64_t(by_row));
        double lost = 0;
        std::fill_n(taken, n_slots, 0.0);
        for (size_t i = 0; i < n_met; i++) {
            uint64_t broken = uint64_t(pattern[met[i]]);
            const int u = __builtin_popcountll(broken);
            const double gain = weight[met[i]] * weights[u * n_weights + v];
            lost += weight[met[i]] * weights[v * n_weights + u];
            for (; broken; broken &= broken - 1) taken[__builtin_ctzll(broken)] += gain;
        }
        for (uint64_t broken = uint64_t(by_row); broken; broken &= broken - 1)
            taken[__builtin_ctzll(broken)] = -lost;
    }
};

// What the twigs give to rows: numbers of a table, or what a leaf without one gives.
struct Givers {
    const Table* tables;
    const int64_t *first_output, *first_leaf;
    const double *numbers, *value;
    const int32_t *target, *output, *leaf;
    const int64_t *first_pattern, *pattern;
    const double* pattern_weight;
    int64_t n_outputs;

    bool has_table(int64_t twig) const { return tables[twig].first_number >= 0; }

    INLINE const double* find(int64_t twig, int64_t state) const {
        return numbers + tables[twig].first_number + state * tables[twig].width;
    }

    // What a row will ask for is on its way while states are found. It has to be inline: a function
    // that does nothing else is left out by compilers.
    INLINE void prefetch(int64_t twig, int64_t state) const {
        if (!has_table(twig)) return;
        const double *from = find(twig, state), *last = from + tables[twig].width - 1;
        __builtin_prefetch(from);
        __builtin_prefetch(last);
        while ((from += 8) < last) __builtin_prefetch(from);
    }

    // Add what some twigs give to rows in these states, (n_twigs, n_lanes), to their values.
    void add(int64_t first, int64_t end, const int64_t* states, int64_t n_lanes, int64_t n_rows,
             double* values, int64_t n_values, Meeting& meeting) const {
        for (int64_t twig = first; twig < end; twig++, states += n_lanes) {
            if (has_table(twig))
                add_table(twig, states, n_rows, values, n_values);
            else
                add_patterns(twig, states, n_rows, values, n_values, meeting);
        }
    }

   private:
    void add_table(int64_t twig, const int64_t* states, int64_t n_rows, double* values,
                   int64_t n_values) const {
        const int32_t n = tables[twig].width, *to = target + tables[twig].first_target;
        for (int64_t row = 0; row < n_rows; row++, values += n_values) {
            const double* from = find(twig, states[row]);
            for (int32_t j = 0; j < n; j++) values[to[j]] += from[j];
        }
    }

    void add_patterns(int64_t twig, const int64_t* states, int64_t n_rows, double* values,
                      int64_t n_values, Meeting& meeting) const {
        const int64_t n = first_output[twig + 1] - first_output[twig];
        if (n == 0) return;
        const int64_t n_slots = tables[twig].width / n, first = first_pattern[twig];
        const double* of_leaf = value + leaf[first_leaf[twig]] * n_outputs;
        for (int64_t row = 0; row < n_rows; row++, values += n_values) {
            meeting.meet(pattern + first, pattern_weight + first, first_pattern[twig + 1] - first,
                         states[row], n_slots);
            const int32_t* to = target + tables[twig].first_target;
            for (int64_t k = 0; k < n; k++, to += n_slots)
                for (int64_t j = 0; j < n_slots; j++)
                    values[to[j]] += of_leaf[output[first_output[twig] + k]] * meeting.taken[j];
        }
    }
};

}  // namespace

// Count the background rows by state: those of tabulated twigs in weight, from first_state on, and
// those of others as patterns, one twig after another, n_patterns each.
//
// rows (n_rows, n_columns), weights (n_rows); of the twigs n_bits (n_twigs), first_state
// (n_twigs + 1), n_patterns (n_twigs). Added to: weight; written: n_patterns, pattern and
// pattern_weight, which have room for as many patterns as there can be.
EXPORT(count_states)
(const Split* splits, const Way* ways, const uint8_t* code_goes_left, const int64_t* first_split,
 const int64_t* first_twig, const double* rows,
 const double* weights, const int64_t* n_bits, const int64_t* first_state, double* weight,
 int64_t* n_patterns, int64_t* pattern, double* pattern_weight, int64_t n_trees, int64_t n_codes,
 int64_t n_rows, int64_t n_columns) {
    const Trees trees{splits, ways, {code_goes_left, n_codes}, first_split, first_twig, n_trees};
    const Rows of_background(rows, n_rows, n_columns);
    StateFinder finder(trees, of_background);
    Merger merger;
    int64_t n_merged = 0;
    for (int64_t tree = 0; tree < n_trees; tree++) {
        const int64_t* states = finder.find(tree, tree + 1);
        for (int64_t w = first_twig[tree]; w < first_twig[tree + 1]; w++) {
            if (first_state[w] < first_state[w + 1]) {
                double* of_twig = weight + first_state[w];
                for (int64_t row = 0; row < n_rows; row++) of_twig[states[row]] += weights[row];
            } else {
                n_patterns[w] = merger.merge(states, weights, n_rows, int(n_bits[w]),
                                             pattern + n_merged, pattern_weight + n_merged);
                n_merged += n_patterns[w];
            }
            states += of_background.n_groups * WIDTH;
        }
    }
}

// Make the tables of the twigs that have one.
//
// See class Twigs for the arrays; weight (n_states), value (n_leaves, n_outputs), potential
// (n_potential, n_potential). Added to: numbers, from first_number on for each twig.
EXPORT(tabulate)
(const int64_t* first_state, const int64_t* first_leaf, const int64_t* first_slot,
 const int64_t* flip, const int64_t* mask, const int32_t* leaf, const int32_t* place,
 const double* value, const double* potential, const int64_t* first_output, const int32_t* output,
 const int64_t* first_feature, const double* weight, const int64_t* first_number, double* numbers,
 int64_t n_twigs, int64_t n_outputs, int64_t n_potential) {
    const Leaves leaves{first_state, first_leaf, first_slot, flip,      mask,       leaf,
                        place,       value,      potential,  n_outputs, n_potential};
    LeafTable of_leaf;
    for (int64_t w = 0; w < n_twigs; w++) {
        const int64_t n_states = first_state[w + 1] - first_state[w];
        if (n_states == 0) continue;
        for (int64_t i = first_leaf[w]; i < first_leaf[w + 1]; i++) {
            of_leaf.fill(leaves, i, weight + first_state[w], n_states);
            add_leaf(leaves, i, of_leaf, n_states, output + first_output[w],
                     first_output[w + 1] - first_output[w],
                     first_feature[w + 1] - first_feature[w], numbers + first_number[w]);
        }
    }
}

namespace {

// Few rows, one after another: what one will ask for is on its way while its states are found.
void explain_one_by_one(const Trees& trees, const Known& known, const Givers& givers,
                        Meeting& meeting, const double* rows, int64_t n_rows, int64_t n_columns,
                        double* values) {
    std::vector<int64_t> states;
    for (int64_t row = 0; row < n_rows; row++, values += known.n_values) {
        RowStates finder(trees, known, rows + row * n_columns, n_columns);
        for (int64_t first = 0, end; first < trees.n_trees; first = end) {
            end = trees.end_of(first, TWIGS_AT_ONCE);
            const int64_t first_twig = trees.first_twig[first], end_twig = trees.first_twig[end];
            const int64_t n_splits = trees.first_split[end] - trees.first_split[first];
            states.resize(std::max(states.size(), size_t(end_twig - first_twig + n_splits + 1)));
            int64_t* at = states.data();
            for (int64_t tree = first; tree < end; tree++) {
                finder.find(tree, at);
                for (int64_t w = trees.first_twig[tree]; w < trees.first_twig[tree + 1]; w++)
                    givers.prefetch(w, *at++);
            }
            givers.add(first_twig, end_twig, states.data(), 1, 1, values, known.n_values, meeting);
        }
    }
}

// Many rows, side by side.
void explain_together(const Trees& trees, const Known& known, const Givers& givers,
                      Meeting& meeting, const double* rows, int64_t n_rows, int64_t n_columns,
                      double* values) {
    for (int64_t start = 0; start < n_rows; start += ROWS_AT_ONCE) {
        const int64_t count = std::min<int64_t>(ROWS_AT_ONCE, n_rows - start);
        const Rows block(rows + start * n_columns, count, n_columns);
        StateFinder finder(trees, block);
        const int64_t n_lanes = block.n_groups * WIDTH;
        for (int64_t first = 0, end; first < trees.n_trees; first = end) {
            end = trees.end_of(first, STATES_AT_ONCE / n_lanes);
            const int64_t first_twig = trees.first_twig[first], end_twig = trees.first_twig[end];
            const int64_t* states = finder.find(first, end);
            for (int64_t w = first_twig; w < end_twig && count <= WIDTH; w++)
                for (int64_t row = 0; row < count; row++)
                    givers.prefetch(w, states[(w - first_twig) * n_lanes + row]);
            givers.add(first_twig, end_twig, states, n_lanes, count,
                       values + start * known.n_values, known.n_values, meeting);
        }
    }
}

}  // namespace

// Add to the Shapley values of rows, (n_rows, n_outputs, n_features).
//
// A number of a table, and a feature of a leaf without one, goes to target (from first_target on for
// each twig) of a row's values, which are n_values. The bytes of a row do not depend on the others.
EXPORT(twig_values)
(const int64_t* block, const double* rows, double* values, int64_t n_rows, int64_t n_columns) {
    Known known;
    std::memcpy(&known, block, sizeof known);
    const Trees trees{known.splits,
                      known.ways,
                      {known.code_goes_left, known.n_codes},
                      known.first_split,
                      known.first_twig,
                      known.n_trees};
    const Givers givers{known.tables,        known.first_output, known.first_leaf,
                        known.numbers,       known.value,        known.target,
                        known.output,        known.leaf,         known.first_pattern,
                        known.pattern,       known.pattern_weight, known.n_outputs};
    Meeting meeting(known.weights, known.n_weights);
    const auto explain = n_rows <= FEW_ROWS ? explain_one_by_one : explain_together;
    explain(trees, known, givers, meeting, rows, n_rows, n_columns, values);
}
