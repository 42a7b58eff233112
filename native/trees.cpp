// Sums of decision trees for many hybrid rows at once, 64 to a word; see
// service/shapley/trees/linked.py.
#include <vector>

#include "vectors.h"

namespace {

constexpr int MOST_AT_ONCE = 32;  // words that go down a tree together

struct Trees {
    const int32_t *feature, *left, *right;  // of each split; a child below 0 is leaf -1 - child
    const double* value;                    // (n_leaves, n_outputs)
    const uint8_t* row_goes_left;           // (n_splits)
    const uint64_t* inside;                 // (n_features, n_words)
    int64_t n_words, n_outputs;
};

// Background rows that differ from one hybrid row to the next.
struct Mixed {
    static constexpr int AT_ONCE = MOST_AT_ONCE;
    static constexpr int FEW = 6;  // rows of a word that are quicker met one by one
    const uint64_t* goes_left;  // (n_splits, n_words)
    int64_t n_words, first_word;

    INLINE bool part(const Trees&, int) const { return true; }

    INLINE uint64_t left(const Trees& trees, int node, int word, uint64_t inside) const {
        const uint64_t at_row = trees.row_goes_left[node] ? ~uint64_t(0) : 0;
        const uint64_t outside = goes_left[node * n_words + first_word + word];
        return (inside & at_row) | (~inside & outside);
    }
};

// One background row for all: where it goes where the explained row does, nothing parts.
struct Alike {
    static constexpr int AT_ONCE = 8;
    static constexpr int FEW = 0;
    const uint8_t* goes_left;  // (n_splits)

    INLINE bool part(const Trees& trees, int node) const {
        return goes_left[node] != trees.row_goes_left[node];
    }

    INLINE uint64_t left(const Trees& trees, int node, int, uint64_t inside) const {
        return trees.row_goes_left[node] ? inside : ~inside;
    }
};

// Add a value to the sums of those of 64 rows that a word names.
template <int FEW>
INLINE void add_where(uint64_t rows, double value, double* sums) {
    if (FEW && __builtin_popcountll(rows) <= FEW) {
        for (; rows; rows &= rows - 1) sums[__builtin_ctzll(rows)] += value;
        return;
    }
#if !defined(__AVX512F__)
    Longs lanes;
    for (int lane = 0; lane < WIDTH; lane++) lanes[lane] = int64_t(1) << lane;
#endif
    for (int row = 0; row < 64; row += WIDTH) {
        const Doubles before = load<Doubles>(sums + row);
#if defined(__AVX512F__)
        const Doubles after = Doubles(_mm512_mask_add_pd(__m512d(before), __mmask8(rows >> row),
                                                         __m512d(before), _mm512_set1_pd(value)));
#else
        const Longs named = (Longs{} + int64_t(rows >> row)) & lanes;
        const Doubles after = before + (named != 0 ? Doubles{} + value : Doubles{});
#endif
        store(sums + row, after);
    }
}

// Add a leaf's value to the sums of the rows that reach it.
template <int COUNT, int FEW>
INLINE void add_leaf(const Trees& trees, int leaf, const uint64_t* reached, double* sums) {
    for (int64_t output = 0; output < trees.n_outputs; output++) {
        const double value = trees.value[leaf * trees.n_outputs + output];
        if (value == 0) continue;
        for (int word = 0; word < COUNT; word++)
            add_where<FEW>(reached[word], value, sums + (output * trees.n_words + word) * 64);
    }
}

// A node that waits, with the rows that reach it, until another subtree is done.
struct Waiting {
    int node;
    uint64_t reached[MOST_AT_ONCE];
};

// Send rows from a root to its leaves: to the left first, and what goes right waits, one node a
// level at most. It is no recursion, since a tree may be as deep as it has leaves.
template <int COUNT, typename Background>
void descend(const Trees& trees, const Background& background, int node, int64_t first_word,
             Waiting* waiting, double* sums) {
    uint64_t reached[COUNT];
    for (int word = 0; word < COUNT; word++) reached[word] = ~uint64_t(0);
    int n_waiting = 0;
    while (true) {
        while (node >= 0 && !background.part(trees, node))
            node = trees.row_goes_left[node] ? trees.left[node] : trees.right[node];
        uint64_t any_left = 0, any_right = 0;
        if (node < 0) {
            add_leaf<COUNT, Background::FEW>(trees, -1 - node, reached, sums);
        } else {
            const uint64_t* inside =
                trees.inside + trees.feature[node] * trees.n_words + first_word;
            uint64_t* to_the_right = waiting[n_waiting].reached;
            for (int word = 0; word < COUNT; word++) {
                const uint64_t left = background.left(trees, node, word, inside[word]);
                to_the_right[word] = reached[word] & ~left;
                reached[word] &= left;
                any_left |= reached[word];
                any_right |= to_the_right[word];
            }
            if (any_right) waiting[n_waiting++].node = trees.right[node];
        }
        if (any_left) {
            node = trees.left[node];
            continue;
        }
        if (n_waiting == 0) return;
        node = waiting[--n_waiting].node;
        for (int word = 0; word < COUNT; word++) reached[word] = waiting[n_waiting].reached[word];
    }
}

// Send the rows of some words down all trees.
template <int COUNT, typename Background>
void descend_all(const Trees& trees, const Background& background, const int32_t* roots,
                 int64_t n_trees, int64_t word, Waiting* waiting, double* sums) {
    for (int64_t tree = 0; tree < n_trees; tree++)
        descend<COUNT>(trees, background, roots[tree], word, waiting, sums + word * 64);
}

}  // namespace

// Add up the leaves that hybrid rows reach, one of each tree.
//
// feature, left, right, row_goes_left (n_splits), roots (n_trees), value (n_leaves, n_outputs),
// at_background (n_splits, n_words), inside (n_features, n_words), sums (n_outputs, 64 n_words), to
// which is added. A root or child below 0 is leaf -1 - child.
EXPORT(hybrid_leaf_sums)
(const int32_t* feature, const int32_t* left, const int32_t* right, const int32_t* roots,
 const double* value, const uint8_t* row_goes_left, const uint64_t* at_background,
 const uint64_t* inside, double* sums, int64_t n_trees, int64_t n_words, int64_t n_outputs,
 int64_t n_levels) {
    const Trees trees{feature, left,    right,    value, row_goes_left,
                      inside,  n_words, n_outputs};
    std::vector<Waiting> waiting(n_levels + 1);
    int64_t word = 0;
    for (; word + Mixed::AT_ONCE <= n_words; word += Mixed::AT_ONCE)
        descend_all<Mixed::AT_ONCE>(trees, Mixed{at_background, n_words, word}, roots, n_trees, word,
                             waiting.data(), sums);
    for (; word < n_words; word++)
        descend_all<1>(trees, Mixed{at_background, n_words, word}, roots, n_trees, word,
                       waiting.data(), sums);
}

// The same of words that each have one background row.
//
// goes_left (n_background, n_splits), met (n_words).
EXPORT(alike_leaf_sums)
(const int32_t* feature, const int32_t* left, const int32_t* right, const int32_t* roots,
 const double* value, const uint8_t* row_goes_left, const uint8_t* goes_left, const int64_t* met,
 const uint64_t* inside, double* sums, int64_t n_trees, int64_t n_splits, int64_t n_words,
 int64_t n_outputs, int64_t n_levels) {
    const Trees trees{feature, left,    right,    value, row_goes_left,
                      inside,  n_words, n_outputs};
    std::vector<Waiting> waiting(n_levels + 1);
    int64_t word = 0;
    while (word < n_words) {
        int64_t count = 1;
        while (count < Alike::AT_ONCE && word + count < n_words &&
               met[word + count] == met[word])
            count++;
        const Alike alike{goes_left + met[word] * n_splits};
        const auto descend_some = count == Alike::AT_ONCE ? descend_all<Alike::AT_ONCE, Alike>
                                  : count >= 4     ? descend_all<4, Alike>
                                  : count >= 2     ? descend_all<2, Alike>
                                                   : descend_all<1, Alike>;
        descend_some(trees, alike, roots, n_trees, word, waiting.data(), sums);
        word += count == Alike::AT_ONCE ? count : count >= 4 ? 4 : count >= 2 ? 2 : 1;
    }
}
