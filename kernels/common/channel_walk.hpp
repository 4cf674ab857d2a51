// SPDX-License-Identifier: Apache-2.0
/// How kernels walk over the values of channels, whatever the memory format.
///
/// An access takes a pack: neighbouring pixels of one channel where the block is 1 (kPlanes), else neighbouring channels of one
/// pixel. The packs at one place of a group, over all pixels and samples, are its `items`. A block of threads takes a tile of
/// places, blockIdx.x, and a part of their items, blockIdx.y.
#pragma once

#include <algorithm>
#include <limits>

#include "common/channel_tile.hpp"
#include "common/channel_view.hpp"
#include "common/launch.hpp"
#include "common/pack.hpp"
#include "common/small_quotient.hpp"

namespace phalanx {

/// Channels of which a thread holds values.
template <int kPack, bool kPlanes>
inline constexpr int kChannelsOfThread = kPlanes ? 1 : kPack;
/// Accesses that a thread has under way at once, where it reads one tensor.
template <int kPack>
inline constexpr int kItemsAtOnce = kPack == 1 ? 8 : 4;

struct ChannelWalk {
  ChannelTile tile;
  int packs, tiles_of_group, block;  ///< of a group: packs side by side, tiles of them, channels
  int items, part;                   ///< all, and those of a part
  Divisor items_of_sample;
  std::int64_t sample_stride, group_stride, item_stride;

  /// Blocks of threads over the places, and parts.
  std::int64_t groups, parts;
  dim3 grid() const {
    return dim3(static_cast<unsigned>(groups * tiles_of_group), static_cast<unsigned>(parts));
  }

  /// Throws    Unsupported if a channel has 2^31 values or nearly so many.
  template <int kPack, bool kPlanes>
  static ChannelWalk of(const ChannelView& view) {
    const std::int64_t of_sample = kPlanes ? view.pixels / kPack : view.pixels,
                       packs = kPlanes ? 1 : view.block / kPack, items = view.n * of_sample;
    constexpr int kSlack = kTileThreads * 8;
    require<Unsupported>(items <= std::numeric_limits<int>::max() - kSlack,
                         "statistics over 2^31 values of a channel or more, on a GPU");
    const ChannelTile tile = ChannelTile::of(packs, items);
    return {.tile = tile,
            .packs = static_cast<int>(packs),
            .tiles_of_group = static_cast<int>(tile.count(packs)),
            .block = static_cast<int>(view.block),
            .items = static_cast<int>(items),
            .part = static_cast<int>(items),
            .items_of_sample = Divisor(std::max<std::int64_t>(of_sample, 1)),
            .sample_stride = view.groups * view.slab_size(),
            .group_stride = view.slab_size(),
            .item_stride = kPlanes ? kPack : view.block,
            .groups = view.groups,
            .parts = items > 0 ? 1 : 0};
  }

  /// Cuts the items into parts of `least` items for each team, or more if there would be too many.
  void cut(std::int64_t least, std::int64_t most_parts) {
    if (items == 0) return;
    const std::int64_t teams = tile.threads / tile.lanes,
                       shared_out = (items + most_parts - 1) / most_parts;
    part = static_cast<int>(std::min<std::int64_t>(items, std::max(least * teams, shared_out)));
    parts = (items + part - 1) / part;
  }

  __device__ std::int64_t offset(int item) const {
    int sample = item;
    const int rest = take(sample, items_of_sample);
    return sample * sample_stride + rest * item_stride;
  }
};

/// What one thread has to do.
template <int kPack, bool kPlanes>
struct ChannelThread {
  std::int64_t base;     ///< the offset of its pack in the first pixel
  int channel;           ///< its first one
  bool has_channel;      ///< lanes behind the last pack of a group have none
  int begin, end, step;  ///< items

  __device__ explicit ChannelThread(const ChannelWalk& walk) {
    const int group = static_cast<int>(blockIdx.x) / walk.tiles_of_group,
              tile = static_cast<int>(blockIdx.x) - group * walk.tiles_of_group,
              pack = tile * walk.tile.lanes + walk.tile.lane();
    const int first = static_cast<int>(blockIdx.y) * walk.part;
    base = group * walk.group_stride + pack * kPack;
    channel = group * walk.block + pack * kPack;
    has_channel = pack < walk.packs;
    step = walk.tile.teams();
    begin = first + walk.tile.team();
    end = has_channel ? (walk.items - first < walk.part ? walk.items : first + walk.part) : begin;
  }

  /// Calls f.template operator()<n>(item) for the items of this thread: n of them at a time, `step` apart, while there are
  /// as many.
  template <int kAtOnce, class F>
  __device__ __forceinline__ void for_each_item(F f) const {
    int item = begin;
    for (; item + (kAtOnce - 1) * step < end; item += kAtOnce * step)
      f.template operator()<kAtOnce>(item);
    if constexpr (kAtOnce > 1)
      for (; item < end; item += step) f.template operator()<1>(item);
  }
};

/// Packs that were read, kept as they lie in memory until they are needed.
template <int kCount, int kPack, class T>
struct HeldPacks {
  Pack<T, kPack> packs[kCount];

  __device__ __forceinline__ void load(const T* from, int i) {
    packs[i] = *reinterpret_cast<const Pack<T, kPack>*>(from);
  }
  __device__ __forceinline__ float at(int i, int k) const { return to_f32(packs[i].v[k]); }
};

/// Calls f.template operator()<kPack, kPlanes>() as the format allows.
template <class T, class F>
void with_channel_pack(const ChannelView& view, F&& f) {
  constexpr int kPack = kPackElements<T>;
  if (view.block % kPack == 0)
    f.template operator()<kPack, false>();
  else if (view.block == 1 && view.pixels % kPack == 0)
    f.template operator()<kPack, true>();
  else
    f.template operator()<1, false>();
}

}  // namespace phalanx
