# The engine's textures and surfaces, and their tests.
target_sources(farcall_softgpu_common PRIVATE exec/handlers/surface.cpp exec/handlers/texture.cpp)
target_sources(farcall_softgpu_engine PRIVATE
  decode/surface.cpp decode/texture.cpp exec/image_cache.cpp exec/texture.cpp exec/texture_quick.cpp)
set_source_files_properties(exec/texture.cpp exec/texture_quick.cpp PROPERTIES COMPILE_OPTIONS -O3)
if(BUILD_TESTING)
  farcall_test(softgpu_images_test
    SOURCES exec/handlers/surface_test.cpp exec/handlers/texture_level_test.cpp exec/handlers/texture_test.cpp
    DEPS farcall_softgpu_engine)
  target_compile_options(softgpu_images_test PRIVATE -ffp-contract=off)
endif()
