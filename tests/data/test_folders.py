import numpy as np
import pytest
import torch
from PIL import Image
from sources_on_disk import pixels, png, write_classes

from vicinal.config import DataSpec
from vicinal.data import ImageSet, decode, load_data
from vicinal.errors import UsageError


def load(source, **options):
    return load_data(DataSpec(source=str(source), **options))


def all_images(data):
    parts = [s.images for s in (data.train, data.validation, data.test)]
    return {image.numpy().tobytes() for part in parts for image in part}


def test_class_folders_are_cut_in_three(tmp_path):
    root = write_classes(tmp_path / "photos", per_class=20)
    data = load(root, validation=0.25, test=0.5)
    assert data.name == "photos (folder)"
    assert data.class_names == ("cat", "dog")
    assert data.notes == ("The source has no test split: 20 test images were cut from its 40 images.",)
    assert data.test.labels.bincount().tolist() == [10, 10]
    # round() goes to the even neighbour: a quarter of 10 is 2.
    assert data.validation.labels.bincount().tolist() == [2, 2]
    assert data.train.labels.bincount().tolist() == [8, 8]
    assert all_images(data) == {np.asarray(pixels(1000 * c + i)).tobytes() for c in range(2) for i in range(20)}
    for images in (data.train, data.validation, data.test):
        cats = {np.asarray(pixels(i)).tobytes() for i in range(20)}
        assert [image.numpy().tobytes() in cats for image in images.images] == [c == 0 for c in images.labels.tolist()]
    again, other = load(root, validation=0.25, test=0.5), load(root, validation=0.1, test=0.3, split_seed=1)
    assert torch.equal(again.train.images, data.train.images)
    assert other.content_hash == data.content_hash


def test_splits_of_the_source_are_used_as_they_are(tmp_path):
    for name, per_class, start in (("train", 6, 0), ("valid", 3, 100), ("test", 2, 200)):
        write_classes(tmp_path / "set" / name, per_class=per_class, start=start)
    data = load(tmp_path / "set", validation=0.5)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [12, 6, 4]
    assert data.notes == ()
    assert data.test.images[0].numpy().tobytes() == np.asarray(pixels(200)).tobytes()
    fewer = load(tmp_path / "set", train_images=4, test_images=2)
    assert [len(s) for s in (fewer.train, fewer.validation, fewer.test)] == [4, 6, 2]


def test_the_imagenet_layout_tests_on_val_and_says_so(tmp_path):
    write_classes(tmp_path / "train", per_class=10)
    write_classes(tmp_path / "val", per_class=4, start=100)
    (tmp_path / "annotations").mkdir()
    data = load(tmp_path)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [18, 2, 8]
    assert data.notes == (
        "Folders beside the splits that were not used: annotations.",
        "The source has no test split: its validation split is the test split.",
    )


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path, classes=("bus", "train"))
    assert load(tmp_path).class_names == ("bus", "train")


def test_the_hash_knows_content_not_path(tmp_path):
    first, second = write_classes(tmp_path / "a"), write_classes(tmp_path / "b")
    assert load(first).content_hash == load(second).content_hash
    (second / "cat" / "000.png").write_bytes(png(77))
    changed = load(second).content_hash
    (second / "dog").rename(second / "wolf")
    assert len({load(first).content_hash, changed, load(second).content_hash}) == 3
    # The source's own boundary between training and test images is content too.
    for name, (train, test) in {"c": (3, 2), "d": (2, 3)}.items():
        write_classes(tmp_path / name / "train", per_class=train)
        write_classes(tmp_path / name / "test", per_class=test, start=train)
    assert load(tmp_path / "c").content_hash != load(tmp_path / "d").content_hash


def test_hidden_and_other_files_are_left_out(tmp_path):
    write_classes(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "cat" / ".DS_Store").write_text("")
    (tmp_path / "cat" / "notes.txt").write_text("")
    (tmp_path / "cat" / "upper.PNG").write_bytes(png(3))
    data = load(tmp_path)
    assert len(all_images(data)) == 10  # upper.PNG repeats an image
    assert sum(len(s) for s in (data.train, data.validation, data.test)) == 11
    assert data.notes[0] == "Left out of the class folders: 1 entries that are no image files by their ending."


def test_grey_only_if_all_are_grey(tmp_path):
    write_classes(tmp_path, mode="L")
    assert load(tmp_path).train.images.shape[1:] == (8, 8, 1)
    (tmp_path / "dog" / "004.png").write_bytes(png(5))
    data = load(tmp_path)
    assert data.train.images.shape[1:] == (8, 8, 3)
    assert np.asarray(pixels(5)).tobytes() in all_images(data)


def test_modes_become_rgb(tmp_path):
    write_classes(tmp_path)
    image = pixels(9)
    for i, mode in enumerate(("RGBA", "CMYK", "P", "1", "LA")):
        image.convert(mode).save(tmp_path / "cat" / f"m{i}.{'tif' if mode == 'CMYK' else 'png'}")
    palette = image.convert("P")
    palette.info["transparency"] = bytes(range(256))
    palette.save(tmp_path / "cat" / "transparent.png")
    assert load(tmp_path).train.images.shape[3] == 3


def test_resize_and_centre_crop_match_torchvision(tmp_path):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    sizes = ((40, 31), (31, 40), (17, 90), (12, 12), (8, 20), (6, 11))
    for c in ("a", "b"):
        (tmp_path / c).mkdir()
    for i, size in enumerate(sizes * 2):
        pixels(i, size).save(tmp_path / "ab"[i >= len(sizes)] / f"{i:02}.png")
    found = all_images(load(tmp_path, image_size=12))
    for i, size in enumerate(sizes * 2):
        image = transforms.center_crop(transforms.resize(pixels(i, size), 12), 12)
        assert np.asarray(image).tobytes() in found
    with pytest.raises(UsageError, match=r"images differ in size: .* give data.image_size=SIDE"):
        load(tmp_path)


def test_equal_sizes_are_kept_even_if_not_square(tmp_path):
    write_classes(tmp_path, size=(10, 6))
    assert load(tmp_path).train.images.shape[1:] == (6, 10, 3)


def test_exif_orientation_is_applied(tmp_path):
    write_classes(tmp_path, size=(10, 6))
    for name in ("000.png", "001.png"):
        upright = Image.open(tmp_path / "cat" / name)
        upright.load()
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned by 90 degrees
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "cat" / name, exif=exif)
    assert np.asarray(pixels(0, (10, 6))).tobytes() in all_images(load(tmp_path))


def test_large_images_are_read_in_threads_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "_SMALL", 0)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 3)
    root = write_classes(tmp_path, per_class=300)
    threaded = load(root)
    monkeypatch.undo()
    assert threaded.content_hash == load(root).content_hash
    (root / "cat" / "017.png").write_bytes(b"broken")
    monkeypatch.setattr(decode, "_SMALL", 0)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 3)
    with pytest.raises(UsageError, match=r"cat.017\.png cannot be read"):
        load(root)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda b: b[: len(b) // 2], "truncated"),
        (lambda b: b"text", "no known image format"),
        (lambda b: b"", "no known"),
    ],
)
def test_a_broken_image_is_named(tmp_path, damage, reason):
    write_classes(tmp_path, size=(64, 64))
    broken = tmp_path / "dog" / "002.png"
    broken.write_bytes(damage(broken.read_bytes()))
    with pytest.raises(
        UsageError, match=rf"dog.002\.png cannot be read as an image \(.*{reason}.*\): repair or remove it"
    ):
        load(tmp_path)


def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch):
    write_classes(tmp_path, size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UsageError, match="decompression bomb"):
        load(tmp_path)


def test_sixteen_bit_images_are_refused(tmp_path):
    write_classes(tmp_path, mode="L")
    Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16)).save(tmp_path / "cat" / "002.png")
    with pytest.raises(UsageError, match=r"002\.png has more than 8 bits per channel"):
        load(tmp_path)


def test_too_many_images_for_memory(tmp_path, monkeypatch):
    write_classes(tmp_path)
    Image.new("RGB", (9, 8)).save(tmp_path / "cat" / "002.png")  # one that differs, so all are resized
    monkeypatch.setattr(decode, "available_memory", lambda: 1_000_000_000)
    load(tmp_path, image_size=16)
    message = r"^10 images of 8000 x 8000 x 3 need 1\.9 GB .* 1\.0 GB free may take 60%: lower data\.image_size or data\.train"
    with pytest.raises(UsageError, match=message):
        load(tmp_path, image_size=8000)


def test_small_images_of_one_size_are_kept_and_others_resized(tmp_path):
    write_classes(tmp_path)
    kept = load(tmp_path, image_size=64)
    assert kept.train.images.shape[1:] == load(tmp_path).train.images.shape[1:] == (8, 8, 3)
    Image.new("RGB", (12, 12)).save(tmp_path / "cat" / "002.png")
    assert load(tmp_path, image_size=64).train.images.shape[1:] == (64, 64, 3)
    assert decode.available_memory() > 0


def layout(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    match name:
        case "bare":
            (root / "image.png").write_bytes(png(0))
        case "one":
            write_classes(root, classes=("cat",))
        case "hollow":
            write_classes(root)
            (root / "emu").mkdir()
        case "differ":
            write_classes(root / "train", classes=("cat", "dog"))
            write_classes(root / "test", classes=("cat", "emu"))
        case "untrained":
            write_classes(root / "test")
        case "twice":
            for part in ("train", "val", "validation"):
                write_classes(root / part)
        case "single":
            write_classes(root)
            write_classes(root, classes=("emu",), per_class=1)
        case "pair":
            write_classes(root)
            write_classes(root, classes=("emu",), per_class=2)
    return root


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", r"empty is empty: give one that holds a folder of images for each class"),
        ("bare", r"bare holds no class folders: sort the images into one folder for each class"),
        ("one", r"one holds one class folder, cat/: a classifier needs at least two"),
        ("hollow", r"the class folder .*emu holds no images \(\.jpg .*\): add some or remove it"),
        ("differ", r"the classes of the splits differ: .*test lacks dog; only .*test has emu; give every split"),
        ("untrained", r"untrained holds test/ but no train/ with class folders"),
        ("twice", r"twice holds both val/ and validation/: keep one"),
        ("single", r"cannot cut test images .*: class 'emu' has one image"),
        ("pair", r"cannot cut validation images .*: class 'emu' has one image.*, or set data.validation=0"),
    ],
)
def test_unusable_folders(tmp_path, name, message):
    with pytest.raises(UsageError, match=message) as caught:
        load(layout(tmp_path, name))
    assert "\n" not in str(caught.value)


def test_unusable_sources_and_options(tmp_path):
    root = write_classes(tmp_path / "photos")
    (tmp_path / "a.csv").write_text("")
    for source, message in (
        (
            tmp_path / "missing",
            r"missing: no such folder or file, and no known name; allowed are embedded/fashion-mnist",
        ),
        (
            "fashionmnist",
            r"data\.source=fashionmnist: no such folder or file, and no known name; allowed are embedded/",
        ),
        (tmp_path / "a.csv", r"a\.csv is a file, but no \.parquet file: allowed are"),
    ):
        with pytest.raises(UsageError, match=message):
            load(source)
    for key, value in (("image_column", "x"), ("label_column", "x"), ("root", "x")):
        with pytest.raises(UsageError, match=rf"data\.{key} goes with .* sources, not with .*: leave it out"):
            load(root, **{key: value})
    with pytest.raises(UsageError, match=r"data\.train_images=50: 50 images are asked for, but there are 8"):
        load(root, train_images=50)
    with pytest.raises(UsageError, match=r"data\.test_images=1: 1 images are asked for, but there are 2 classes"):
        load(root, test_images=1)


def test_image_sets_hold_one_form():
    images, labels = torch.zeros(4, 2, 2, 3, dtype=torch.uint8), torch.arange(4)
    part = ImageSet(images, labels).subset(torch.tensor([3, 1]))
    assert part.labels.tolist() == [3, 1]
    assert len(part) == 2
    assert len(ImageSet(images, labels).subset(labels > 0)) == 3
    for wrong_images, wrong_labels in ((images.float(), labels), (images, labels.int()), (images, labels[:3])):
        with pytest.raises(ValueError, match="are"):
            ImageSet(wrong_images, wrong_labels)
    with pytest.raises(ValueError, match="contiguous"):
        ImageSet(images.transpose(1, 2)[:, :, :1].transpose(1, 2), labels)
