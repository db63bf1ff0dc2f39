// A picture from a file, through two 2-D filters, back to files:
//
//   image_filter [input.ppm [blurred.ppm [edges.pgm]]]
//
// A 5 x 5 Gaussian blur (weights in constant memory, pitched rows) writes a colour picture, a Sobel
// filter of its luminance writes a grey one. All arithmetic is in integers, so the host's result
// must match byte for byte. Without an input file of that name a test card is drawn and written
// first.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"

constexpr int kRadius = 2;
constexpr int kTaps = 2 * kRadius + 1;
constexpr int kGaussian[kTaps] = {1, 4, 6, 4, 1};  // separable: its square has the sum 256
__constant__ int weights[kTaps * kTaps];

// Interleaved samples, 3 channels (PPM) or 1 (PGM).
struct Image {
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> samples;
};

__host__ __device__ int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

__host__ __device__ uint8_t blur_at(const uint8_t* in, size_t pitch, int width, int height, int x,
                                    int y, int channel, const int* kernel) {
  int sum = 128;  // rounds
  for (int dy = -kRadius; dy <= kRadius; ++dy) {
    for (int dx = -kRadius; dx <= kRadius; ++dx) {
      const int row = clamp(y + dy, 0, height - 1);
      const int column = clamp(x + dx, 0, width - 1);
      sum += kernel[(dy + kRadius) * kTaps + dx + kRadius] * in[row * pitch + column * 3 + channel];
    }
  }
  return static_cast<uint8_t>(sum / 256);
}

__host__ __device__ int luminance_at(const uint8_t* in, size_t pitch, int width, int height, int x,
                                     int y) {
  const uint8_t* pixel = in + clamp(y, 0, height - 1) * pitch + clamp(x, 0, width - 1) * 3;
  return (77 * pixel[0] + 150 * pixel[1] + 29 * pixel[2]) / 256;
}

__host__ __device__ uint8_t edge_at(const uint8_t* in, size_t pitch, int width, int height, int x,
                                    int y) {
  int around[3][3];
  for (int dy = -1; dy <= 1; ++dy) {
    for (int dx = -1; dx <= 1; ++dx) {
      around[dy + 1][dx + 1] = luminance_at(in, pitch, width, height, x + dx, y + dy);
    }
  }
  const int horizontal = around[0][2] + 2 * around[1][2] + around[2][2] - around[0][0] -
                         2 * around[1][0] - around[2][0];
  const int vertical = around[2][0] + 2 * around[2][1] + around[2][2] - around[0][0] -
                       2 * around[0][1] - around[0][2];
  return static_cast<uint8_t>(clamp(abs(horizontal) + abs(vertical), 0, 255));
}

__global__ void blur(const uint8_t* in, size_t in_pitch, uint8_t* out, size_t out_pitch, int width,
                     int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  for (int channel = 0; channel < 3; ++channel) {
    out[y * out_pitch + x * 3 + channel] =
        blur_at(in, in_pitch, width, height, x, y, channel, weights);
  }
}

__global__ void find_edges(const uint8_t* in, size_t in_pitch, uint8_t* out, size_t out_pitch,
                           int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < width && y < height) out[y * out_pitch + x] = edge_at(in, in_pitch, width, height, x, y);
}

// Binary PPM (P6) and PGM (P5) with 8-bit samples, comments allowed: what every picture viewer
// reads.
bool read_image(const std::string& path, Image* image) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int max = 0;
  const auto next_number = [&file] {
    int number = -1;
    while ((file >> std::ws).peek() == '#') file.ignore(4096, '\n');
    file >> number;
    return number;
  };
  file >> magic;
  image->channels = magic == "P6" ? 3 : magic == "P5" ? 1 : 0;
  image->width = next_number();
  image->height = next_number();
  max = next_number();
  file.get();  // the one white space before the samples
  if (!file || image->channels == 0 || image->width < 1 || image->width > 16384 ||
      image->height < 1 || image->height > 16384 || max != 255) {
    return false;
  }
  image->samples.resize(static_cast<size_t>(image->width) * image->height * image->channels);
  return static_cast<bool>(file.read(reinterpret_cast<char*>(image->samples.data()),
                                     static_cast<std::streamsize>(image->samples.size())));
}

bool write_image(const std::string& path, const Image& image) {
  std::ofstream file(path, std::ios::binary);
  file << (image.channels == 3 ? "P6" : "P5") << '\n'
       << image.width << ' ' << image.height << "\n255\n";
  file.write(reinterpret_cast<const char*>(image.samples.data()),
             static_cast<std::streamsize>(image.samples.size()));
  return static_cast<bool>(file.flush());
}

// Rings, a checkerboard and a colour gradient.
Image draw_test_card() {
  Image card{250, 187, 3, {}};
  for (int y = 0; y < card.height; ++y) {
    for (int x = 0; x < card.width; ++x) {
      const int dx = x - card.width / 2, dy = y - card.height / 2;
      const bool ring = (dx * dx + dy * dy) / 256 % 3 == 0;
      const bool square = (x / 16 + y / 16) % 2 == 0;
      card.samples.push_back(static_cast<uint8_t>(ring ? 240 : x * 255 / card.width));
      card.samples.push_back(static_cast<uint8_t>(square ? 200 : y * 255 / card.height));
      card.samples.push_back(static_cast<uint8_t>(ring != square ? 230 : 40));
    }
  }
  return card;
}

int main(int argc, char** argv) {
  const std::string input_path = argc > 1 ? argv[1] : "input.ppm";
  const std::string blurred_path = argc > 2 ? argv[2] : "blurred.ppm";
  const std::string edges_path = argc > 3 ? argv[3] : "edges.pgm";
  if (!std::ifstream(input_path) && !write_image(input_path, draw_test_card())) {
    std::fprintf(stderr, "cannot write %s\n", input_path.c_str());
    return EXIT_FAILURE;
  }
  Image input;
  if (!read_image(input_path, &input) || input.channels != 3) {
    std::fprintf(stderr, "%s: not a binary PPM picture (P6) with 8-bit samples\n",
                 input_path.c_str());
    return EXIT_FAILURE;
  }
  const int width = input.width, height = input.height;
  const size_t row_bytes = static_cast<size_t>(width) * 3;

  int host_weights[kTaps * kTaps];
  for (int i = 0; i < kTaps * kTaps; ++i)
    host_weights[i] = kGaussian[i / kTaps] * kGaussian[i % kTaps];
  CHECK(cudaMemcpyToSymbol(weights, host_weights, sizeof(host_weights)));

  uint8_t *device_input, *device_blurred, *device_edges;
  size_t input_pitch, blurred_pitch, edges_pitch;
  CHECK(cudaMallocPitch(&device_input, &input_pitch, row_bytes, height));
  CHECK(cudaMallocPitch(&device_blurred, &blurred_pitch, row_bytes, height));
  CHECK(cudaMallocPitch(&device_edges, &edges_pitch, width, height));
  CHECK(cudaMemcpy2D(device_input, input_pitch, input.samples.data(), row_bytes, row_bytes, height,
                     cudaMemcpyHostToDevice));

  const dim3 block(32, 8);
  const dim3 grid((width + block.x - 1) / block.x, (height + block.y - 1) / block.y);
  blur<<<grid, block>>>(device_input, input_pitch, device_blurred, blurred_pitch, width, height);
  CHECK(cudaGetLastError());
  find_edges<<<grid, block>>>(device_blurred, blurred_pitch, device_edges, edges_pitch, width,
                              height);
  CHECK(cudaGetLastError());

  Image blurred{width, height, 3, std::vector<uint8_t>(row_bytes * height)};
  Image edges{width, height, 1, std::vector<uint8_t>(static_cast<size_t>(width) * height)};
  CHECK(cudaMemcpy2D(blurred.samples.data(), row_bytes, device_blurred, blurred_pitch, row_bytes,
                     height, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy2D(edges.samples.data(), width, device_edges, edges_pitch, width, height,
                     cudaMemcpyDeviceToHost));

  int wrong = 0;
  unsigned long long blurred_sum = 0, edges_sum = 0;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        const uint8_t sample = blurred.samples[y * row_bytes + x * 3 + channel];
        wrong += sample != blur_at(input.samples.data(), row_bytes, width, height, x, y, channel,
                                   host_weights);
        blurred_sum += sample;
      }
      const uint8_t edge = edges.samples[static_cast<size_t>(y) * width + x];
      wrong += edge != edge_at(blurred.samples.data(), row_bytes, width, height, x, y);
      edges_sum += edge;
    }
  }
  if (!write_image(blurred_path, blurred) || !write_image(edges_path, edges)) {
    std::fprintf(stderr, "cannot write %s or %s\n", blurred_path.c_str(), edges_path.c_str());
    return EXIT_FAILURE;
  }
  std::printf("%d x %d pixels: blurred, mean %.3f; edges, mean %.3f\n", width, height,
              static_cast<double>(blurred_sum) / static_cast<double>(blurred.samples.size()),
              static_cast<double>(edges_sum) / static_cast<double>(edges.samples.size()));
  std::printf("%s: %d samples differ from the host's\n", wrong == 0 ? "PASSED" : "FAILED", wrong);

  CHECK(cudaFree(device_input));
  CHECK(cudaFree(device_blurred));
  CHECK(cudaFree(device_edges));
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
