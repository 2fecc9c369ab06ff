#include "layers/onednn/add_elements.hpp"

#include <vector>

namespace caffe {
namespace onednn {

namespace {

template <typename Element>
DNNH_WITH_AVX2 void AddPair(const Element* a, float factor_a, const Element* b,
                            float factor_b, int64_t count, Element* sum) {
  for (int64_t i = 0; i < count; ++i) {
    sum[i] = factor_a * a[i] + factor_b * b[i];
  }
}

template <typename Element>
DNNH_WITH_AVX2 void ScaleOne(const Element* a, float factor, int64_t count,
                             Element* scaled) {
  for (int64_t i = 0; i < count; ++i) { scaled[i] = factor * a[i]; }
}

}  // namespace

void Add(const std::vector<dnnl::memory>& sources,
         const std::vector<float>& coefficients, const dnnl::memory& sum) {
  const dnnl::memory::desc layout = sum.get_desc();
  WithElements(layout, [&](auto element) {
    using Element = decltype(element);
    const auto values = [](const dnnl::memory& memory) {
      return static_cast<Element*>(memory.get_data_handle());
    };
    const int64_t count = layout.get_size() / sizeof(Element);
    ForRanges(count, [&](int64_t begin, int64_t length) {
      Element* y = values(sum) + begin;
      const Element* first = values(sources[0]) + begin;
      if (sources.size() == 1) {
        ScaleOne(first, coefficients[0], length, y);
        return;
      }
      AddPair(first, coefficients[0], values(sources[1]) + begin,
              coefficients[1], length, y);
      for (size_t i = 2; i < sources.size(); ++i) {
        AddPair<Element>(y, 1, values(sources[i]) + begin, coefficients[i],
                         length, y);
      }
    });
  });
}

}  // namespace onednn
}  // namespace caffe
