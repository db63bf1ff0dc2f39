// Thrust and CUB: sort, scan, reduce, select, histogram and the block primitives, against the
// standard library. Compiled for several architectures, for each of which CUB has tunings and code
// of its own (decoupled look-back, one-sweep sort, asynchronous copies).
#include <thrust/device_vector.h>
#include <thrust/reduce.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <thrust/unique.h>

#include <algorithm>
#include <cub/cub.cuh>
#include <numeric>
#include <vector>

#include "../check.h"

namespace {

constexpr int kCount = 50'021;

std::vector<int> random_ints(unsigned below) {
  std::vector<int> out(kCount);
  unsigned state = 12345;
  for (int& value : out) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<int>((state >> 8) % below);
  }
  return out;
}

template <class T>
bool same(const thrust::device_vector<T>& got, const std::vector<T>& wanted) {
  std::vector<T> host(got.size());
  thrust::copy(got.begin(), got.end(), host.begin());
  return host == wanted;
}

void sorts() {
  std::vector<int> keys = random_ints(1u << 20), values(kCount), order(kCount);
  std::iota(order.begin(), order.end(), 0);
  thrust::device_vector<int> dkeys = keys, dvalues = order;
  thrust::sort_by_key(dkeys.begin(), dkeys.end(), dvalues.begin());  // radix sort: stable
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] < keys[b]; });
  CHECK(same(dvalues, order));
  std::stable_sort(keys.begin(), keys.end());
  CHECK(same(dkeys, keys));

  std::vector<double> doubles;
  for (int key : random_ints(1u << 16)) doubles.push_back(key - 32768.5);
  thrust::device_vector<double> ddoubles = doubles;
  const auto descending = [] __device__ __host__(double a, double b) { return a > b; };
  thrust::sort(ddoubles.begin(), ddoubles.end(), descending);  // merge sort
  std::sort(doubles.begin(), doubles.end(), descending);
  CHECK(same(ddoubles, doubles));
}

void scans_and_reductions() {
  const std::vector<int> in = random_ints(1000);
  thrust::device_vector<int> din = in, dout(kCount);
  thrust::exclusive_scan(din.begin(), din.end(), dout.begin());
  std::vector<int> wanted(kCount);
  std::exclusive_scan(in.begin(), in.end(), wanted.begin(), 0);
  CHECK(same(dout, wanted));
  CHECK(thrust::reduce(din.begin(), din.end()) == std::accumulate(in.begin(), in.end(), 0));
  CHECK(thrust::max_element(din.begin(), din.end()) - din.begin() ==
        std::max_element(in.begin(), in.end()) - in.begin());

  std::vector<int> few = random_ints(3);
  thrust::device_vector<int> dfew = few;
  dfew.erase(thrust::unique(dfew.begin(), dfew.end()), dfew.end());
  few.erase(std::unique(few.begin(), few.end()), few.end());
  CHECK(same(dfew, few));
}

// Calls twice, as CUB wants it: for the size of its storage, then to work.
template <class Algorithm>
void with_storage(Algorithm algorithm) {
  size_t bytes = 0;
  OK(algorithm(nullptr, bytes));
  thrust::device_vector<char> storage(bytes + 1);
  OK(algorithm(thrust::raw_pointer_cast(storage.data()), bytes));
}

struct IsOdd {
  __device__ __host__ bool operator()(int value) const { return value % 2 != 0; }
};

void select_and_histogram() {
  const std::vector<int> in = random_ints(256);
  thrust::device_vector<int> din = in, dout(kCount), dselected(1), dbins(256);
  const int* pin = thrust::raw_pointer_cast(din.data());
  int* pout = thrust::raw_pointer_cast(dout.data());
  int* pselected = thrust::raw_pointer_cast(dselected.data());
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceSelect::If(storage, bytes, pin, pout, pselected, kCount, IsOdd());
  });
  std::vector<int> wanted;
  std::copy_if(in.begin(), in.end(), std::back_inserter(wanted), IsOdd());
  CHECK(dselected[0] == static_cast<int>(wanted.size()));
  dout.resize(wanted.size());
  CHECK(same(dout, wanted));

  int* pbins = thrust::raw_pointer_cast(dbins.data());
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceHistogram::HistogramEven(storage, bytes, pin, pbins, 257, 0, 256, kCount);
  });
  std::vector<int> bins(256);
  for (int value : in) ++bins[value];
  CHECK(same(dbins, bins));
}

void runs_and_segments() {
  const std::vector<int> in = random_ints(2);
  thrust::device_vector<int> din = in, dunique(kCount), dlengths(kCount), druns(1);
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceRunLengthEncode::Encode(storage, bytes, thrust::raw_pointer_cast(din.data()),
                                              thrust::raw_pointer_cast(dunique.data()),
                                              thrust::raw_pointer_cast(dlengths.data()),
                                              thrust::raw_pointer_cast(druns.data()), kCount);
  });
  std::vector<int> lengths;
  for (int i = 0; i < kCount; ++i) {
    if (i == 0 || in[i] != in[i - 1]) lengths.push_back(0);
    ++lengths.back();
  }
  CHECK(druns[0] == static_cast<int>(lengths.size()));
  dlengths.resize(lengths.size());
  CHECK(same(dlengths, lengths));

  const std::vector<int> offsets = {0, 1, 1, 1000, 30'000, kCount};
  thrust::device_vector<int> doffsets = offsets, dsums(5);
  const int* poffsets = thrust::raw_pointer_cast(doffsets.data());
  with_storage([&](void* storage, size_t& bytes) {
    return cub::DeviceSegmentedReduce::Sum(storage, bytes, thrust::raw_pointer_cast(din.data()),
                                           thrust::raw_pointer_cast(dsums.data()), 5, poffsets,
                                           poffsets + 1);
  });
  std::vector<int> sums;
  for (int i = 0; i < 5; ++i) {
    sums.push_back(std::accumulate(in.begin() + offsets[i], in.begin() + offsets[i + 1], 0));
  }
  CHECK(same(dsums, sums));
}

template <cub::BlockScanAlgorithm kAlgorithm>
__global__ void scan_block(int* data) {
  using Scan = cub::BlockScan<int, 128, kAlgorithm>;
  __shared__ typename Scan::TempStorage storage;
  int items[3];
  for (int i = 0; i < 3; ++i) items[i] = data[threadIdx.x * 3 + i];
  Scan(storage).InclusiveSum(items, items);
  for (int i = 0; i < 3; ++i) data[threadIdx.x * 3 + i] = items[i];
}

void blocks() {
  std::vector<int> in = random_ints(100);
  in.resize(3 * 128);
  thrust::device_vector<int> raking = in, warps = in;
  scan_block<cub::BLOCK_SCAN_RAKING><<<1, 128>>>(thrust::raw_pointer_cast(raking.data()));
  scan_block<cub::BLOCK_SCAN_WARP_SCANS><<<1, 128>>>(thrust::raw_pointer_cast(warps.data()));
  OK(cudaDeviceSynchronize());
  std::partial_sum(in.begin(), in.end(), in.begin());
  CHECK(same(raking, in));
  CHECK(same(warps, in));
}

}  // namespace

int main() {
  sorts();
  scans_and_reductions();
  select_and_histogram();
  runs_and_segments();
  blocks();
  return finish();
}
