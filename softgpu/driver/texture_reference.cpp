#include "softgpu/driver/texture_reference.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "softgpu/driver/array.h"
#include "softgpu/driver/context.h"
#include "softgpu/driver/device.h"
#include "softgpu/driver/module.h"

namespace farcall::softgpu {

// Its fields are guarded by references_mutex: programs set one at a time, and a grid asks once.
class TextureReference {
 public:
  CUDA_TEXTURE_DESC description = {};
  CUDA_RESOURCE_DESC resource = {};
  bool bound = false;
  // Of what is bound as memory.
  CUarray_format format = CU_AD_FORMAT_FLOAT;
  unsigned channels = 1;
  std::weak_ptr<Module> module;  // whose variable it is
  bool of_module = false;
  ContextRef context;

  bool gone() const {
    const ModuleRef owner = module.lock();
    return of_module && (owner == nullptr || owner->retired());
  }
};

class SurfaceReference {
 public:
  CUarray array = nullptr;
  std::weak_ptr<Module> module;
  bool gone() const {
    const ModuleRef owner = module.lock();
    return owner == nullptr || owner->retired();
  }
};

namespace {

// Never destroyed, like the driver.
struct References {
  std::mutex mutex;
  // By handle; those of variables have an entry by address too. Guarded by mutex.
  std::map<CUtexref, std::shared_ptr<TextureReference>> textures;
  std::map<CUsurfref, std::shared_ptr<SurfaceReference>> surfaces;
  std::map<uint64_t, CUtexref> texture_variables;
  std::map<uint64_t, CUsurfref> surface_variables;
  uintptr_t next = 0;

  uintptr_t new_handle() { return uintptr_t{0x7e} << 40 | (next += 16); }
  template <class Handles, class Variables>
  static void drop_gone(Handles& handles, Variables& variables) {
    std::erase_if(handles, [](const auto& entry) { return entry.second->gone(); });
    std::erase_if(variables, [&handles](const auto& entry) {
      return handles.find(entry.second) == handles.end();
    });
  }
  void clean() {
    drop_gone(textures, texture_variables);
    drop_gone(surfaces, surface_variables);
  }
};
References& references() {
  static auto* const all = new References;
  return *all;
}

CUresult find_module(CUmodule handle, ModuleRef* out) {
  *out = driver().modules.find(handle);
  return *out == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

std::shared_ptr<TextureReference> find(CUtexref handle) {
  const auto found = references().textures.find(handle);
  return found == references().textures.end() || found->second->gone() ? nullptr : found->second;
}

// Changes one. Kernels that were launched before see the old state.
template <class Change>
CUresult change(CUtexref handle, Change apply) {
  ContextRef context;
  {
    std::lock_guard lock(references().mutex);
    const auto reference = find(handle);
    if (reference == nullptr) return CUDA_ERROR_INVALID_VALUE;
    context = reference->context;
  }
  if (CUresult error = context->synchronize()) return error;
  std::lock_guard lock(references().mutex);
  const auto reference = find(handle);
  if (reference == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return apply(*reference);
}

template <class Look>
CUresult look(CUtexref handle, const void* out, Look read) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::lock_guard lock(references().mutex);
  const auto reference = find(handle);
  if (reference == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return read(*reference);
}

std::shared_ptr<TextureReference> make_reference(ContextRef context) {
  auto reference = std::make_shared<TextureReference>();
  reference->context = std::move(context);
  reference->description.filterMode = CU_TR_FILTER_MODE_POINT;
  reference->description.mipmapFilterMode = CU_TR_FILTER_MODE_POINT;
  return reference;
}

// Is what is bound a texture at all, with the sampling as it is set? Wrong settings that a later
// call may correct are no error yet.
CUresult bind(TextureReference& reference, const CUDA_RESOURCE_DESC& resource) {
  ImageSource source;
  if (CUresult error = ImageSource::find(reference.context->device(), resource, &source))
    return error;
  reference.resource = resource;
  reference.bound = true;
  return CUDA_SUCCESS;
}

}  // namespace

std::shared_ptr<const Texture> find_bound_texture(const Device& device, uint64_t variable) {
  std::lock_guard lock(references().mutex);
  const auto found = references().texture_variables.find(variable);
  if (found == references().texture_variables.end()) return nullptr;
  const auto reference = find(found->second);
  if (reference == nullptr || !reference->bound) return nullptr;
  std::shared_ptr<TextureObject> object;
  if (TextureObject::create(reference->context, reference->resource, reference->description,
                            nullptr, &object) != CUDA_SUCCESS) {
    return nullptr;
  }
  return object->texture(device);
}

std::shared_ptr<const Surface> find_bound_surface(const Device& device, uint64_t variable) {
  std::lock_guard lock(references().mutex);
  const auto found = references().surface_variables.find(variable);
  if (found == references().surface_variables.end()) return nullptr;
  const auto reference = references().surfaces.find(found->second);
  if (reference == references().surfaces.end() || reference->second->gone()) return nullptr;
  CUDA_RESOURCE_DESC resource = {};
  resource.resType = CU_RESOURCE_TYPE_ARRAY;
  resource.res.array.hArray = reference->second->array;
  std::shared_ptr<SurfaceObject> object;
  const ModuleRef module = reference->second->module.lock();
  if (module == nullptr || SurfaceObject::create(module->context().shared_from_this(), resource,
                                                 &object) != CUDA_SUCCESS) {
    return nullptr;
  }
  return object->surface(device);
}

// ------------------------------------------------------------------ references of modules

CUresult api::cuModuleGetTexRef(CUtexref* out, CUmodule handle, const char* name) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const std::optional<VariableInfo> variable = module->variable(name);
  if (!variable || !variable->texture) return CUDA_ERROR_NOT_FOUND;
  const auto address = reinterpret_cast<uint64_t>(variable->address);
  std::lock_guard lock(references().mutex);
  references().clean();
  if (const auto known = references().texture_variables.find(address);
      known != references().texture_variables.end()) {
    *out = known->second;
    return CUDA_SUCCESS;
  }
  auto reference = make_reference(module->context().shared_from_this());
  reference->module = module;
  reference->of_module = true;
  *out = reinterpret_cast<CUtexref>(references().new_handle());
  references().textures.emplace(*out, std::move(reference));
  references().texture_variables.emplace(address, *out);
  return CUDA_SUCCESS;
}

CUresult api::cuModuleGetSurfRef(CUsurfref* out, CUmodule handle, const char* name) {
  ModuleRef module;
  if (CUresult error = find_module(handle, &module)) return error;
  if (out == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const std::optional<VariableInfo> variable = module->variable(name);
  if (!variable || !variable->surface) return CUDA_ERROR_NOT_FOUND;
  const auto address = reinterpret_cast<uint64_t>(variable->address);
  std::lock_guard lock(references().mutex);
  references().clean();
  if (const auto known = references().surface_variables.find(address);
      known != references().surface_variables.end()) {
    *out = known->second;
    return CUDA_SUCCESS;
  }
  auto reference = std::make_shared<SurfaceReference>();
  reference->module = module;
  *out = reinterpret_cast<CUsurfref>(references().new_handle());
  references().surfaces.emplace(*out, std::move(reference));
  references().surface_variables.emplace(address, *out);
  return CUDA_SUCCESS;
}

CUresult api::cuTexRefCreate(CUtexref* out) {
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ContextRef context;
  if (CUresult error = current_context(&context)) return error;
  std::lock_guard lock(references().mutex);
  *out = reinterpret_cast<CUtexref>(references().new_handle());
  references().textures.emplace(*out, make_reference(context));
  return CUDA_SUCCESS;
}
CUresult api::cuTexRefDestroy(CUtexref handle) {
  std::lock_guard lock(references().mutex);
  const auto reference = find(handle);
  if (reference == nullptr || reference->of_module) return CUDA_ERROR_INVALID_VALUE;
  references().textures.erase(handle);
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ binding

CUresult api::cuTexRefSetArray(CUtexref handle, CUarray array, unsigned flags) {
  if (flags != CU_TRSA_OVERRIDE_FORMAT) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [array](TextureReference& reference) {
    CUDA_RESOURCE_DESC resource = {};
    resource.resType = CU_RESOURCE_TYPE_ARRAY;
    resource.res.array.hArray = array;
    return bind(reference, resource);
  });
}
CUresult api::cuTexRefSetMipmappedArray(CUtexref handle, CUmipmappedArray array, unsigned flags) {
  if (flags != CU_TRSA_OVERRIDE_FORMAT) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [array](TextureReference& reference) {
    CUDA_RESOURCE_DESC resource = {};
    resource.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY;
    resource.res.mipmap.hMipmappedArray = array;
    return bind(reference, resource);
  });
}
// A base that is not aligned is moved down, and the program adds *offset in its kernels.
CUresult api::cuTexRefSetAddress_v2(size_t* offset, CUtexref handle, CUdeviceptr base,
                                    size_t bytes) {
  const size_t beyond = base % DeviceMemory::kAlignment;
  if (beyond != 0 && offset == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    CUDA_RESOURCE_DESC resource = {};
    resource.resType = CU_RESOURCE_TYPE_LINEAR;
    resource.res.linear.devPtr = base - beyond;
    resource.res.linear.format = reference.format;
    resource.res.linear.numChannels = reference.channels;
    resource.res.linear.sizeInBytes = bytes + beyond;
    const CUresult error = bind(reference, resource);
    if (error == CUDA_SUCCESS && offset != nullptr) *offset = beyond;
    return error;
  });
}
CUresult api::cuTexRefSetAddress2D_v3(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR* descriptor,
                                      CUdeviceptr base, size_t pitch) {
  if (descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    CUDA_RESOURCE_DESC resource = {};
    resource.resType = CU_RESOURCE_TYPE_PITCH2D;
    resource.res.pitch2D.devPtr = base;
    resource.res.pitch2D.format = descriptor->Format;
    resource.res.pitch2D.numChannels = descriptor->NumChannels;
    resource.res.pitch2D.width = descriptor->Width;
    resource.res.pitch2D.height = descriptor->Height;
    resource.res.pitch2D.pitchInBytes = pitch;
    return bind(reference, resource);
  });
}
CUresult api::cuTexRefSetAddress2D_v2(CUtexref handle, const CUDA_ARRAY_DESCRIPTOR* descriptor,
                                      CUdeviceptr base, size_t pitch) {
  return api::cuTexRefSetAddress2D_v3(handle, descriptor, base, pitch);
}
CUresult api::cuTexRefSetFormat(CUtexref handle, CUarray_format format, int channels) {
  TexelFormat checked;
  if (channels < 1) return CUDA_ERROR_INVALID_VALUE;
  const auto count = static_cast<unsigned>(channels);
  if (CUresult error = find_format(format, count, &checked)) return error;
  return change(handle, [&](TextureReference& reference) {
    reference.format = format;
    reference.channels = count;
    return CUDA_SUCCESS;
  });
}

CUresult api::cuSurfRefSetArray(CUsurfref handle, CUarray array, unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  const std::shared_ptr<Array> found = driver().arrays.find(array);
  if (found == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if ((found->descriptor().Flags & CUDA_ARRAY3D_SURFACE_LDST) == 0) return CUDA_ERROR_INVALID_VALUE;
  if (CUresult error = found->context().synchronize()) return error;
  std::lock_guard lock(references().mutex);
  const auto reference = references().surfaces.find(handle);
  if (reference == references().surfaces.end() || reference->second->gone())
    return CUDA_ERROR_INVALID_VALUE;
  reference->second->array = array;
  return CUDA_SUCCESS;
}
CUresult api::cuSurfRefGetArray(CUarray* out, CUsurfref handle) {
  std::lock_guard lock(references().mutex);
  const auto reference = references().surfaces.find(handle);
  if (out == nullptr || reference == references().surfaces.end() ||
      reference->second->array == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *out = reference->second->array;
  return CUDA_SUCCESS;
}

// ------------------------------------------------------------------ sampling

CUresult api::cuTexRefSetAddressMode(CUtexref handle, int dimension, CUaddress_mode mode) {
  if (dimension < 0 || dimension > 2 || mode > CU_TR_ADDRESS_MODE_BORDER)
    return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    reference.description.addressMode[dimension] = mode;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetFilterMode(CUtexref handle, CUfilter_mode mode) {
  if (mode > CU_TR_FILTER_MODE_LINEAR) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    reference.description.filterMode = mode;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetMipmapFilterMode(CUtexref handle, CUfilter_mode mode) {
  if (mode > CU_TR_FILTER_MODE_LINEAR) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    reference.description.mipmapFilterMode = mode;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetMipmapLevelBias(CUtexref handle, float bias) {
  return change(handle, [&](TextureReference& reference) {
    reference.description.mipmapLevelBias = bias;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetMipmapLevelClamp(CUtexref handle, float least, float most) {
  return change(handle, [&](TextureReference& reference) {
    reference.description.minMipmapLevelClamp = least;
    reference.description.maxMipmapLevelClamp = most;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetMaxAnisotropy(CUtexref handle, unsigned ratio) {
  return change(handle, [&](TextureReference& reference) {
    reference.description.maxAnisotropy = ratio;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetBorderColor(CUtexref handle, float* color) {
  if (color == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    std::copy_n(color, 4, reference.description.borderColor);
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefSetFlags(CUtexref handle, unsigned flags) {
  constexpr unsigned kFlags = CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES |
                              CU_TRSF_SRGB | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION;
  if ((flags & ~kFlags) != 0) return CUDA_ERROR_INVALID_VALUE;
  return change(handle, [&](TextureReference& reference) {
    reference.description.flags = flags;
    return CUDA_SUCCESS;
  });
}

// ------------------------------------------------------------------ queries

CUresult api::cuTexRefGetAddress_v2(CUdeviceptr* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    if (!reference.bound) return CUDA_ERROR_INVALID_VALUE;
    if (reference.resource.resType == CU_RESOURCE_TYPE_LINEAR) {
      *out = reference.resource.res.linear.devPtr;
    } else if (reference.resource.resType == CU_RESOURCE_TYPE_PITCH2D) {
      *out = reference.resource.res.pitch2D.devPtr;
    } else {
      return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetArray(CUarray* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    if (!reference.bound || reference.resource.resType != CU_RESOURCE_TYPE_ARRAY)
      return CUDA_ERROR_INVALID_VALUE;
    *out = reference.resource.res.array.hArray;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetMipmappedArray(CUmipmappedArray* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    if (!reference.bound || reference.resource.resType != CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
      return CUDA_ERROR_INVALID_VALUE;
    *out = reference.resource.res.mipmap.hMipmappedArray;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetAddressMode(CUaddress_mode* out, CUtexref handle, int dimension) {
  if (dimension < 0 || dimension > 2) return CUDA_ERROR_INVALID_VALUE;
  return look(handle, out, [&](const TextureReference& reference) {
    *out = reference.description.addressMode[dimension];
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetFilterMode(CUfilter_mode* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    *out = reference.description.filterMode;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetFormat(CUarray_format* format, int* channels, CUtexref handle) {
  return look(handle, format, [&](const TextureReference& reference) {
    *format = reference.format;
    if (channels != nullptr) *channels = static_cast<int>(reference.channels);
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetMipmapFilterMode(CUfilter_mode* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    *out = reference.description.mipmapFilterMode;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetMipmapLevelBias(float* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    *out = reference.description.mipmapLevelBias;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetMipmapLevelClamp(float* least, float* most, CUtexref handle) {
  if (most == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return look(handle, least, [&](const TextureReference& reference) {
    *least = reference.description.minMipmapLevelClamp;
    *most = reference.description.maxMipmapLevelClamp;
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetMaxAnisotropy(int* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    *out = static_cast<int>(reference.description.maxAnisotropy);
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetBorderColor(float* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    std::copy_n(reference.description.borderColor, 4, out);
    return CUDA_SUCCESS;
  });
}
CUresult api::cuTexRefGetFlags(unsigned* out, CUtexref handle) {
  return look(handle, out, [&](const TextureReference& reference) {
    *out = reference.description.flags;
    return CUDA_SUCCESS;
  });
}

}  // namespace farcall::softgpu
