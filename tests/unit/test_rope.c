/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern/rope.h: the steps against mpmath at 400 bits (table from tools/poly/rope.py), the phase against
 * libm in double (an oracle here), the checks of the metadata. TUTTI_ROPE_FULL=1: every position to 2^21.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <cmocka.h>

#include "base/err.h"
#include "kern/rope.h"

/* freq: 1 if pair i is divided by 1 + i/4. mid: the step of pair dim/4. digest: over all steps. */
static const struct {
    int dim;
    int base;
    enum rope_scaling scaling;
    float factor;
    int orig_ctx, freq;
    uint32_t attn;
    uint64_t mid, digest;
} expected[] = {
    {64, 10000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x00684dc4c179c52c, 0xa57ec7192b907381},
    {64, 10000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0014dc5a8d185aa2, 0x3accbffb1903db2e},
    {64, 10000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x001a1371305e714b, 0x4befd4859f32cf81},
    {64, 10000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x003d5aec18b36e4b, 0x968d466aef68378d},
    {64, 10000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0x78fee19db59f8e9e},
    {64, 10000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xcc8f2e4f0f195378},
    {64, 10000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x00684dc4c179c52c, 0xf2cff2dc719bf595},
    {64, 10000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00395df90402f93f, 0xe9ce86f1790241f3},
    {64, 10000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0011e5f5db898567, 0x28b57387dd7d9d31},
    {80, 10000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x00684dc4c179c52c, 0x7e675c0d54ac3d44},
    {80, 10000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0011624b75944b87, 0x891fd33e405b704e},
    {80, 10000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x001a1371305e714b, 0xb04bd6bb4e038f12},
    {80, 10000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x003d5aec18b36e4b, 0x55f5af5a5c6687b0},
    {80, 10000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xebd54fa4872b5cb0},
    {80, 10000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0x10b9ae9f3cdc9352},
    {80, 10000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x00684dc4c179c52c, 0xd5b62d8f919b2231},
    {80, 10000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x003bcfcba08bd3de, 0x7564ddb6884d35e3},
    {80, 10000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000ee06ce74d6865, 0xc1c4af11355caed8},
    {96, 10000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x00684dc4c179c52c, 0x640ba2650a8b6990},
    {96, 10000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000ee689d27f1c2b, 0xe5c6329f9fb078b8},
    {96, 10000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x001a1371305e714b, 0xa05fcdb8ed584ad4},
    {96, 10000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x003d5aec18b36e4b, 0x1eec58d8883edf24},
    {96, 10000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xafc493ed478e5356},
    {96, 10000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xe9d38d947b320d4e},
    {96, 10000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x00684dc4c179c52c, 0xd88471b734e7f908},
    {96, 10000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x003821c47f069590, 0x9a59a949164e2db1},
    {96, 10000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000cba92c5bed29e, 0xee2727cb4cb21e0b},
    {128, 10000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x00684dc4c179c52c, 0x70410e00a05f5ade},
    {128, 10000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000b96dcf90d87b0, 0xb64051835ce8589f},
    {128, 10000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x001a1371305e714b, 0xcdee5233e0443051},
    {128, 10000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x003d5aec18b36e4b, 0xc3ec91496bed63b3},
    {128, 10000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xdcb54758f9194f05},
    {128, 10000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xf988101610e14436},
    {128, 10000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x00684dc4c179c52c, 0xdab64c6a58ea47d5},
    {128, 10000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00395df90402f93f, 0xb80845376529ea4c},
    {128, 10000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0009e0ae2c105671, 0x125725e77b7ce907},
    {256, 10000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x00684dc4c179c52c, 0x9776b85e72d966ca},
    {256, 10000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000622b1388eb13f, 0x000e99a95dee12f5},
    {256, 10000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x001a1371305e714b, 0x0a13c5668b9ccf9f},
    {256, 10000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x003d5aec18b36e4b, 0xf75b6dd13109d8cf},
    {256, 10000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xe2cf6ba0cab6aac9},
    {256, 10000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00684dc4c179c52c, 0xfaff78766d64cc01},
    {256, 10000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x00684dc4c179c52c, 0xdf4ddfe112723c40},
    {256, 10000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x003986067eab79ed, 0xa1c97b01ac6b141e},
    {256, 10000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000535fa96cdac76, 0xe8f111bf55c7ab75},
    {64, 100000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x6f587afd70d52bff},
    {64, 100000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000698c4a3d9f3ca, 0x260dc291856ab821},
    {64, 100000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00083ef5ccd070bd, 0xdddd09d852954a16},
    {64, 100000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x001366f705f63aab, 0x719a9abe131325a1},
    {64, 100000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x75228bb234d32672},
    {64, 100000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x21a7f4660429aead},
    {64, 100000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x001c0943b85e4c1d, 0x4e94b3841e8950b1},
    {64, 100000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00099863d70e79e1, 0xd8751758377b35a7},
    {64, 100000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0005367b2c987405, 0x6072031a1d3942ae},
    {80, 100000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x5f1608634b6509b5},
    {80, 100000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x00057f4e888af5d3, 0x399aede6cbb6d30b},
    {80, 100000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00083ef5ccd070bd, 0xac98594871af1678},
    {80, 100000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x001366f705f63aab, 0x3ff8fe9c0e42b8c1},
    {80, 100000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x44bf8651728a8578},
    {80, 100000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xd97f625e004f45a9},
    {80, 100000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x001b46681b9dc3ad, 0x07d5ca22113f7144},
    {80, 100000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00083ef5ccd070bd, 0x2e5614883738ed54},
    {80, 100000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0004538686187605, 0xc80209fa2f8780a5},
    {96, 100000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x6e4cfeee6ab6dd9b},
    {96, 100000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0004b64350771bda, 0xc269af0798cd18da},
    {96, 100000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00083ef5ccd070bd, 0x0533a008cfc6c0c3},
    {96, 100000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x001366f705f63aab, 0x509f9c760a5fcc66},
    {96, 100000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xdd1dd56f2be8a112},
    {96, 100000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x56ffa536baac7b14},
    {96, 100000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x001c0943b85e4c1d, 0xa0525c02e460db4d},
    {96, 100000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x0008dd483c2cdf98, 0x918cafe385026910},
    {96, 100000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0003b14ae9c36ee0, 0x50f0b54dfe1a9aa2},
    {128, 100000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xa7a32ed0c80755f6},
    {128, 100000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0003aa345b074e8d, 0xec89bbfea5c15cc1},
    {128, 100000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00083ef5ccd070bd, 0xc326dafb0c4b1577},
    {128, 100000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x001366f705f63aab, 0xe908ec7a83e9eee2},
    {128, 100000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xfc97a76e64a7b350},
    {128, 100000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xf58d1465fc0bc11f},
    {128, 100000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x001c0943b85e4c1d, 0x6f6898aa60456d0f},
    {128, 100000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00087b45f73ccbbb, 0x5d8ed7623087e2b6},
    {128, 100000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0002dc01787fa96f, 0x9944bdd2cc70eebd},
    {256, 100000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xbd73b668a524c76b},
    {256, 100000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0001f0b24e4f2996, 0xa3b4a24dd63cae33},
    {256, 100000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00083ef5ccd070bd, 0x23b8b0402524d7a9},
    {256, 100000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x001366f705f63aab, 0x67ced7b5613b85fd},
    {256, 100000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0x3422aee7627417cd},
    {256, 100000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x0020fbd73341c2f4, 0xb253868754dc4c28},
    {256, 100000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x001c0943b85e4c1d, 0x350fe96a5fc57d32},
    {256, 100000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00080f76ab67e915, 0x01f5826954c1dcda},
    {256, 100000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000180f0972f653c, 0x8f086228199958d9},
    {64, 500000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000ec0334892a2e2, 0x2218e86c03846241},
    {64, 500000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0002f33d74ea2094, 0x637e3f291b4d942b},
    {64, 500000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x0003b00cd224a8b8, 0xf5ef77a72b4a2677},
    {64, 500000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x0008ad4b53c8789a, 0x333fb47561d53730},
    {64, 500000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0005796e9c552800, 0x75825f30b349db75},
    {64, 500000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00047afe1c29ff68, 0x43c648139b33750d},
    {64, 500000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x0009d57785b71741, 0x58618f4982222fa4},
    {64, 500000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00005e67ae9d4412, 0xfd71bff82fc9e162},
    {64, 500000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000244f433f2392f, 0x0ed00d2c1de658c2},
    {80, 500000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000ec0334892a2e2, 0x19fa4a9f4933ee9d},
    {80, 500000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0002755de16dc5d0, 0x43cc87423ce8d873},
    {80, 500000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x0003b00cd224a8b8, 0xa635d7416fc69582},
    {80, 500000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x0008ad4b53c8789a, 0x6c7fa0feaf7e18df},
    {80, 500000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0005796e9c552800, 0x80ca6796748b85d1},
    {80, 500000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00047afe1c29ff68, 0xee671e1b915d0c99},
    {80, 500000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000a242341e4cffb, 0xef70e3197da7c202},
    {80, 500000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00005e67ae9d4412, 0x0dc487e0671ca874},
    {80, 500000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0001e420d5f484fd, 0x15b7aef08a205e82},
    {96, 500000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000ec0334892a2e2, 0xe9f060b5c22ed528},
    {96, 500000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x00021b750a5e1745, 0xac65a223785ee0b4},
    {96, 500000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x0003b00cd224a8b8, 0x82be195011934ce5},
    {96, 500000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x0008ad4b53c8789a, 0x44cdf2e9761b27c5},
    {96, 500000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0005796e9c552800, 0xdd594c4261634c27},
    {96, 500000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00047afe1c29ff68, 0x23ce8c1d63891af0},
    {96, 500000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000a026bf13eee87, 0x7940509ada1f0fa4},
    {96, 500000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00005e67ae9d4412, 0x8906b7afbbbd51f5},
    {96, 500000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x00019ef792d1968f, 0xba83eccd9f99b53e},
    {128, 500000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000ec0334892a2e2, 0x1f2855ea38542222},
    {128, 500000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0001a393eb9e83e0, 0xc16a8b53c18b21ec},
    {128, 500000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x0003b00cd224a8b8, 0x289f82d512b8e118},
    {128, 500000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x0008ad4b53c8789a, 0x1342a274fe2c8a36},
    {128, 500000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0005796e9c552800, 0x8f864c91ac713684},
    {128, 500000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00047afe1c29ff68, 0x5eb9862d64522f35},
    {128, 500000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x0009d57785b71741, 0x01b76edf85e78869},
    {128, 500000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00005e67ae9d4412, 0xdf1dd9f5ee3a81ff},
    {128, 500000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000142c08ea30353, 0xc50c24d330958114},
    {256, 500000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000ec0334892a2e2, 0xd40b22e3d7ccf6e2},
    {256, 500000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0000de212262fa86, 0x78476ccac3c6340e},
    {256, 500000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x0003b00cd224a8b8, 0x594219fe16d92124},
    {256, 500000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x0008ad4b53c8789a, 0xcb978238f1b2fdf6},
    {256, 500000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x0005796e9c552800, 0x34f9a4feaa3bb9a3},
    {256, 500000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00047afe1c29ff68, 0x9930f79d6a52b4f8},
    {256, 500000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000a026bf13eee87, 0xf37cfbde2a73ff85},
    {256, 500000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x00005e67ae9d4412, 0xd8c392f2da661750},
    {256, 500000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0000aade69a19859, 0x69a43fb787d5934f},
    {64, 1000000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000a6e2d468c2d51, 0x7d0eecd9bfd24f6d},
    {64, 1000000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000216090e1c0910, 0x82553f4a5ee08d94},
    {64, 1000000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00029b8b51a30b54, 0x203e308e638fe5ec},
    {64, 1000000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x000622b135ab8b07, 0x95c67d8b29e21ce8},
    {64, 1000000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00023a5eb31f6f5b, 0x579cc9e3d3f024ec},
    {64, 1000000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00015963fec17f92, 0x3f48665d183a5d59},
    {64, 1000000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x0006159a69271a6f, 0x51f4fe766a78e774},
    {64, 1000000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x000042c121c38122, 0xbfc0444c8601590f},
    {64, 1000000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x00019acbe474d337, 0x4e0bad034cac5f56},
    {80, 1000000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000a6e2d468c2d51, 0xefbbd73a4a54aec2},
    {80, 1000000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x0001bd078bc2078e, 0x6a8aa4123a3e2f13},
    {80, 1000000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00029b8b51a30b54, 0xf9e7c12c488353da},
    {80, 1000000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x000622b135ab8b07, 0x26df7bfe5067d42b},
    {80, 1000000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00023a5eb31f6f5b, 0x2c036213c057d10f},
    {80, 1000000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00015963fec17f92, 0xe7bf424811f1df66},
    {80, 1000000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000629d4ef816099, 0xcc0470e1dcbd0b72},
    {80, 1000000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x000042c121c38122, 0xb502212877b31a5e},
    {80, 1000000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0001565493b6b003, 0x60bdbe807d3a460c},
    {96, 1000000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000a6e2d468c2d51, 0x6f1f6e9e3fd05b0c},
    {96, 1000000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x00017d742ea64f9e, 0xe981f31130174038},
    {96, 1000000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00029b8b51a30b54, 0xae898f9f3a7a28a0},
    {96, 1000000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x000622b135ab8b07, 0x19f2a14888b6f2a2},
    {96, 1000000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00023a5eb31f6f5b, 0xcabe2be488aea04a},
    {96, 1000000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00015963fec17f92, 0xefbd3c97741a2239},
    {96, 1000000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000637d611711b04, 0x33bf7f723b280f10},
    {96, 1000000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x000042c121c38122, 0xcb6b159eccf99450},
    {96, 1000000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0001256d10e5bb70, 0x3b69050dd9bc05ce},
    {128, 1000000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000a6e2d468c2d51, 0x35587f680604b982},
    {128, 1000000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x000128afb2815a5e, 0xa9d070affe54ea24},
    {128, 1000000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00029b8b51a30b54, 0xa15165c3bb961675},
    {128, 1000000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x000622b135ab8b07, 0x1d56fb000ae84bc7},
    {128, 1000000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00023a5eb31f6f5b, 0x8e10b9acd323fdb8},
    {128, 1000000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00015963fec17f92, 0xd831ef60790cd989},
    {128, 1000000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x000649f5a6c575ad, 0x44a0abd4bb2f5c21},
    {128, 1000000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x000042c121c38122, 0xd1dd079315a624e7},
    {128, 1000000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x0000e4386279caad, 0xf1f7f1af3d4b44a6},
    {256, 1000000, ROPE_PLAIN, 1.0f, 0, 0, 0x3f800000, 0x000a6e2d468c2d51, 0xfc409e2a1d59afe8},
    {256, 1000000, ROPE_PLAIN, 1.0f, 0, 1, 0x3f800000, 0x00009d11b8db11b9, 0x6506978c20b2cd4d},
    {256, 1000000, ROPE_LINEAR, 4.0f, 0, 0, 0x3f800000, 0x00029b8b51a30b54, 0x08a0d508ed42b36f},
    {256, 1000000, ROPE_LINEAR, 1.7f, 0, 0, 0x3f800000, 0x000622b135ab8b07, 0xf08b395b6cfe270f},
    {256, 1000000, ROPE_LLAMA3, 8.0f, 8192, 0, 0x3f800000, 0x00023a5eb31f6f5b, 0xd820cec7a9443b27},
    {256, 1000000, ROPE_LLAMA3, 32.0f, 8192, 0, 0x3f800000, 0x00015963fec17f92, 0x3e0b92621b9f99fd},
    {256, 1000000, ROPE_YARN, 4.0f, 32768, 0, 0x3f91be9c, 0x0006668482903315, 0xcc67ae01d5f92b65},
    {256, 1000000, ROPE_YARN, 40.0f, 4096, 0, 0x3faf37b8, 0x000042c121c38122, 0x11ab0598593fe97d},
    {256, 1000000, ROPE_YARN, 1.3f, 2048, 1, 0x3f835bb7, 0x000078d28e7cb698, 0x09fde51512de2707},
};

static uint64_t digest(const uint64_t *step, int n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < n; i++) {
        h = (h ^ step[i]) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

static void steps_are_correctly_rounded(void **state)
{
    (void)state;
    static uint64_t step[ROPE_MAX_DIM / 2];
    static float freq[ROPE_MAX_DIM / 2];
    for (int i = 0; i < ROPE_MAX_DIM / 2; i++) freq[i] = 1 + (float)i / 4;
    for (size_t k = 0; k < sizeof expected / sizeof *expected; k++) {
        struct rope_config c = rope_config_default(expected[k].dim, (float)expected[k].base);
        c.scaling = expected[k].scaling;
        c.factor = expected[k].factor;
        c.orig_ctx = (float)expected[k].orig_ctx;
        c.freq_factors = expected[k].freq ? freq : NULL;
        struct rope r;
        assert_int_equal(rope_init(&r, &c, step, NULL), 0);
        assert_int_equal(r.n, c.dim / 2);
        if (step[c.dim / 4] != expected[k].mid || digest(step, r.n) != expected[k].digest ||
            f32_bits(r.attn) != expected[k].attn)
            fail_msg("row %zu: step %016llx digest %016llx attn %08x", k, (unsigned long long)step[c.dim / 4],
                     (unsigned long long)digest(step, r.n), f32_bits(r.attn));
    }
}

static void attention_factor_multiplies(void **state)
{
    (void)state;
    uint64_t step[32];
    struct rope r;
    struct rope_config c = rope_config_default(64, 10000);
    c.attn = 1.25f;
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    float co[32], si[32];
    rope_angles(&r, 0, co, si);
    assert_true(r.attn == 1.25f && co[0] == 1.25f && si[0] == 0.0f);
    c.scaling = ROPE_YARN;
    c.factor = 4;
    c.orig_ctx = 4096;
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    assert_true(r.attn == (float)(1.25 * (1 + log(4.0) / 10)));
    c.attn_final = true;
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    assert_true(r.attn == 1.25f);
}

static void phase_is_sin_and_cos(void **state)
{
    (void)state;
    uint32_t stride = getenv("TUTTI_ROPE_FULL") ? 1 : 1009;
    double worst = 0;
    for (int dim = 64; dim <= 128; dim += 64) {
        uint64_t step[64];
        float c[64], s[64];
        struct rope r;
        struct rope_config cfg = rope_config_default(dim, 500000);
        assert_int_equal(rope_init(&r, &cfg, step, NULL), 0);
        for (uint32_t pos = 0; pos <= 1u << 21; pos += stride) {
            rope_angles(&r, pos, c, s);
            for (int i = 0; i < r.n; i++) {
                double a = (double)(int64_t)(pos * step[i]) * (M_PI / 0x1p63);
                worst = fmax(worst, fmax(fabs((double)c[i] - cos(a)), fabs((double)s[i] - sin(a))));
            }
        }
    }
    printf("rope: largest absolute error of sin and cos 2^%.3f, every %u. position to 2^21\n", log2(worst),
           stride);
    assert_true(worst <= 0x1p-23);
}

static void phase_meets_the_axes_and_the_contract(void **state)
{
    (void)state;
    float c, s;
    const float q[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    for (uint64_t k = 0; k < 4; k++) {
        rope_phase(k << 62, &c, &s);
        assert_true(c == q[k][0] && s == q[k][1]);
    }
    uint64_t turns = 1;
    for (int k = 0; k < 100000; k++) { /* the formula as the contract writes it */
        turns = turns * 6364136223846793005u + 1442695040888963407u;
        uint64_t u = turns + (1ull << 61);
        int64_t r = (int64_t)(u & ((1ull << 62) - 1)) - (1ll << 61);
        int64_t down = r >= 0 ? r >> 30 : -((-r + (1ll << 30) - 1) >> 30);
        float t = (float)(int32_t)down * 0x1p-31f, x = cos_turn32(t), y = sin_turn32(t);
        float wc = u >> 62 == 0 ? x : u >> 62 == 1 ? -y : u >> 62 == 2 ? -x : y;
        float ws = u >> 62 == 0 ? y : u >> 62 == 1 ? x : u >> 62 == 2 ? -y : -x;
        rope_phase(turns, &c, &s);
        assert_int_equal(f32_bits(c), f32_bits(wc));
        assert_int_equal(f32_bits(s), f32_bits(ws));
    }
}

static void bad_metadata_is_an_error(void **state)
{
    (void)state;
    uint64_t step[ROPE_MAX_DIM / 2];
    struct rope r;
    struct err e;
    const float inf = (float)INFINITY, nan = (float)NAN;
    float freq[32];
    for (int i = 0; i < 32; i++) freq[i] = 1;
#define BAD(change)                                                                                          \
    do {                                                                                                     \
        struct rope_config c = rope_config_default(64, 10000);                                               \
        change;                                                                                              \
        assert_true(rope_init(&r, &c, step, &e) < 0);                                                        \
        assert_true(e.msg[0] != 0);                                                                          \
    } while (0)
#define YARN c.scaling = ROPE_YARN, c.factor = 4, c.orig_ctx = 4096
#define LLAMA3 c.scaling = ROPE_LLAMA3, c.factor = 8, c.orig_ctx = 8192
    BAD(c.dim = 0);
    BAD(c.dim = 63);
    BAD(c.dim = -2);
    BAD(c.dim = ROPE_MAX_DIM + 2);
    BAD(c.base = 0);
    BAD(c.base = -1);
    BAD(c.base = nan);
    BAD(c.base = inf);
    BAD(c.attn = 0);
    BAD(c.scaling = (enum rope_scaling)9);
    BAD((c.scaling = ROPE_LINEAR, c.factor = 0));
    BAD((c.scaling = ROPE_LINEAR, c.factor = nan));
    BAD((YARN, c.orig_ctx = 0));
    BAD((YARN, c.beta_fast = 0));
    BAD((YARN, c.base = 1));
    BAD((LLAMA3, c.high_freq = 1));
    BAD((LLAMA3, c.low_freq = -1));
    freq[31] = 0;
    BAD(c.freq_factors = freq);
    freq[31] = inf;
    BAD(c.freq_factors = freq);
}

/* Corners that must neither hang nor leave the range. */
static void odd_metadata_is_no_error(void **state)
{
    (void)state;
    uint64_t step[ROPE_MAX_DIM / 2];
    struct rope r;
    struct rope_config c = rope_config_default(ROPE_MAX_DIM, 0x1p30f);
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    assert_true(step[ROPE_MAX_DIM / 2 - 1] > 0);
    c = rope_config_default(64, 1);
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    assert_int_equal(step[0], step[31]); /* base 1: every theta is 1 */
    c = rope_config_default(64, 1.5f);
    c.scaling = ROPE_YARN;
    c.factor = 0x1p30f;
    c.orig_ctx = 1;
    c.beta_fast = 0x1p30f;
    c.beta_slow = 0x1p-20f;
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
    c = rope_config_default(64, 10000);
    c.scaling = ROPE_LLAMA3;
    c.factor = 0x1p-20f;
    c.orig_ctx = 0x1p30f;
    assert_int_equal(rope_init(&r, &c, step, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_correctly_rounded),
        cmocka_unit_test(attention_factor_multiplies),
        cmocka_unit_test(phase_is_sin_and_cos),
        cmocka_unit_test(phase_meets_the_axes_and_the_contract),
        cmocka_unit_test(bad_metadata_is_an_error),
        cmocka_unit_test(odd_metadata_is_no_error),
    };
    return cmocka_run_group_tests_name("rope", tests, NULL, NULL);
}
