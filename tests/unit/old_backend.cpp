// SPDX-License-Identifier: Apache-2.0
// A backend of another version.
#include "device/backend.hpp"

extern "C" phalanx::DeviceBackend* phalanx_make_backend(int) { return nullptr; }
