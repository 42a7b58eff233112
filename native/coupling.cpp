// libsvm's coupling of the probabilities of pairs of classes; step by step as in
// service/shapley/kernels/numpy_kernels.py, since where it stops is part of the answer.
#include <cmath>
#include <vector>

#include "vectors.h"

// first (n, n_classes (n_classes - 1) / 2), probabilities (n, n_classes).
EXPORT(couple_probabilities)
(const double* first, double* probabilities, int64_t n, int64_t n_classes) {
    const int k = int(n_classes);
    const int64_t n_pairs = n_classes * (n_classes - 1) / 2;
    const int most_rounds = k > 100 ? k : 100;
    std::vector<double> pairwise(size_t(k) * k), form(size_t(k) * k), gradient(k);
    for (int64_t row = 0; row < n; row++) {
        const double* of_row = first + row * n_pairs;
        double* p = probabilities + row * n_classes;
        int pair = 0;
        for (int i = 0; i < k; i++) {
            pairwise[i * k + i] = 0;
            for (int j = i + 1; j < k; j++) {
                pairwise[i * k + j] = of_row[pair];
                pairwise[j * k + i] = 1 - of_row[pair];
                pair++;
            }
        }
        for (int i = 0; i < k; i++) {
            double squares = 0;
            for (int j = 0; j < k; j++) {
                form[i * k + j] = -pairwise[j * k + i] * pairwise[i * k + j];
                squares += pairwise[j * k + i] * pairwise[j * k + i];
            }
            form[i * k + i] = squares;
            p[i] = 1.0 / k;
        }
        for (int round = 0; round < most_rounds; round++) {
            double value = 0, error = 0;
            for (int i = 0; i < k; i++) {
                gradient[i] = 0;
                for (int j = 0; j < k; j++) gradient[i] += form[i * k + j] * p[j];
                value += p[i] * gradient[i];
            }
            for (int i = 0; i < k; i++) error = std::fmax(error, std::fabs(gradient[i] - value));
            if (!(error >= 0.005 / k)) break;
            for (int t = 0; t < k; t++) {
                const double own = form[t * k + t];
                const double step = (value - gradient[t]) / own;
                const double total = 1 + step;
                value = (value + step * (step * own + 2 * gradient[t])) / total / total;
                p[t] += step;
                for (int i = 0; i < k; i++) {
                    p[i] /= total;
                    gradient[i] = (gradient[i] + step * form[i * k + t]) / total;
                }
            }
        }
    }
}
