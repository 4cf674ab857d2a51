// SPDX-License-Identifier: Apache-2.0
/// CUDA's types for the emulation: from the toolkit's headers, whose host side any compiler takes, or without them from
/// stand-ins with the same bits.
#pragma once

#if __has_include(<cuda_bf16.h>) && !defined(SIMT_WITHOUT_TOOLKIT)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// To another compiler than nvcc these are attributes that it does not know.
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#undef __grid_constant__

#else

#include "simt/standin.hpp"

using simt::standin::char4;
using simt::standin::dim3;
using simt::standin::double2;
using simt::standin::float2;
using simt::standin::float3;
using simt::standin::float4;
using simt::standin::int2;
using simt::standin::int3;
using simt::standin::int4;
using simt::standin::uchar4;
using simt::standin::uint2;
using simt::standin::uint3;
using simt::standin::uint4;
using simt::standin::ushort4;

using simt::standin::make_char4;
using simt::standin::make_double2;
using simt::standin::make_float2;
using simt::standin::make_float3;
using simt::standin::make_float4;
using simt::standin::make_int2;
using simt::standin::make_int3;
using simt::standin::make_int4;
using simt::standin::make_uchar4;
using simt::standin::make_uint2;
using simt::standin::make_uint3;
using simt::standin::make_uint4;
using simt::standin::make_ushort4;

using __half = simt::standin::Half;
using __half2 = simt::standin::Half2;
using half = __half;
using half2 = __half2;
using __nv_bfloat16 = simt::standin::BFloat16;
using __nv_bfloat162 = simt::standin::BFloat162;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

using simt::standin::__bfloat1622float2;
using simt::standin::__bfloat162float;
using simt::standin::__bfloat16_as_ushort;
using simt::standin::__float22bfloat162_rn;
using simt::standin::__float22half2_rn;
using simt::standin::__float2bfloat16;
using simt::standin::__float2bfloat16_rn;
using simt::standin::__float2half;
using simt::standin::__float2half_rn;
using simt::standin::__floats2bfloat162_rn;
using simt::standin::__floats2half2_rn;
using simt::standin::__half22float2;
using simt::standin::__half2float;
using simt::standin::__half_as_ushort;
using simt::standin::__ushort_as_bfloat16;
using simt::standin::__ushort_as_half;

using cudaStream_t = struct CUstream_st*;

#define __align__(bytes) __attribute__((aligned(bytes)))

#endif
