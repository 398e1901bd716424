"""A small network of nearly every family of timm: its head is kept with timm's own answers, and it takes a new one."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from built import build, pixels

from vicinal.networks import read_weights, rebuilt_classifier, save_weights

FAMILIES = [
    "caformer_s18",
    "convformer_s18",
    "coat_lite_tiny",
    "deit_tiny_distilled_patch16_224",
    "dla34",
    "halonet_h1",
    "mobileone_s1",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "crossvit_tiny_240",
    "csatv2",
    "cs3darknet_focus_s",
    "cspnext_tiny",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientnet_lite0",
    "efficientvim_m1",
    "efficientvit_b0",
    "efficientvit_m0",
    "vit_tiny_patch16_dinov3_qkvb",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lcnetv2_small",
    "levit_128s",
    "lowformer_b0",
    "test_mambaout",
    "test_coatnet",
    "poolformerv2_s12",
    "gmlp_ti16_224",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "test_nfnet",
    "pit_ti_224",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m1",
    "res2next50",
    "resnest14d",
    "test_resnet",
    "resnetv2_18",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "visformer_tiny",
    "test_vit",
    "vit_tiny_r_s16_p8_224",
    "test_vit_relpos",
    "vitamin_small_224",
    "volo_d1_224",
    "ese_vovnet19b_slim_dw",
    "legacy_xception",
    "xception41p",
    "xcit_nano_12_p8_224",
]


@pytest.mark.slow
@pytest.mark.parametrize("model", FAMILIES)
def test_a_family_of_timm_is_kept_saved_and_takes_a_new_head(tmp_path: Path, model: str):
    torch.manual_seed(0)
    network = timm.create_model(model, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    x = pixels(2, 3, network.pretrained_cfg["input_size"][-1])
    for head, epochs in (("keep", 0), ("linear", 1)):
        own = build(model, 7, 3, weights=str(tmp_path / "w.pth"), head=head, epochs=epochs)
        with torch.no_grad():
            answer = own(x)
            assert answer.shape == (2, 7)
            if head == "keep":
                expected = network((x - own.mean) / own.std)
                torch.testing.assert_close(answer, expected, atol=1e-4, rtol=1e-3)
            assert own.features(x).dim() == 2
            save_weights(own, tmp_path / "own.safetensors")
            again = rebuilt_classifier(own.spec, read_weights(tmp_path / "own.safetensors"), 7, 3)
            assert torch.equal(again(x), answer)
