use super::*;
use crate::base::tasks::TaskGroup;

fn area(numbers: [f64; 4]) -> Area {
    Area::try_from(numbers).unwrap()
}

fn masked(mask: Area) -> PictureLook {
    PictureLook { masks: vec![mask], ..PictureLook::default() }
}

fn corner() -> Area {
    area([0.0, 0.0, 0.2, 0.1])
}

#[tokio::test(start_paused = true)]
async fn masks_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (persist, configured) = (Persist::start(&TaskGroup::new()), PictureLook::default());
    let (mut values, mut masks) = (LookValues::default(), MaskSettings::load(dir.path()));
    assert_eq!(look(&values, &masks, &configured).masks, []);
    change((&mut values, &mut masks), LookChange::Masks(vec![corner()]), &configured, true).unwrap();
    masks.save(&persist).outcome().await.unwrap();
    let again = MaskSettings::load(dir.path());
    assert_eq!(look(&values, &again, &configured).masks, [corner()]);
}

#[test]
fn masks_that_cannot_be_read_mask_everything() {
    let dir = tempfile::tempdir().unwrap();
    for text in ["", "{", "[]", "null7", r#"{"masks":[[0,0,2,2]],"instead_of":[]}"#, r#"{"masks":[]}"#] {
        std::fs::write(dir.path().join("masks.json"), text).unwrap();
        let masks = MaskSettings::load(dir.path());
        assert_eq!(
            look(&LookValues::default(), &masks, &PictureLook::default()).masks,
            [Area::ALL],
            "{text:?}"
        );
    }
    std::fs::remove_file(dir.path().join("masks.json")).unwrap();
    assert_eq!(MaskSettings::load(dir.path()).over(&[corner()]), [corner()], "none were set");
}

#[test]
fn a_mask_that_is_configured_later_is_not_lost_on_what_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let (mut values, mut masks) = (LookValues::default(), MaskSettings::load(dir.path()));
    let before = masked(corner());
    change((&mut values, &mut masks), LookChange::Masks(Vec::new()), &before, true).unwrap();
    assert_eq!(look(&values, &masks, &before).masks, [], "taken away by who may");
    let other = area([0.5, 0.5, 0.5, 0.5]);
    assert_eq!(look(&values, &masks, &masked(other)).masks, [other], "configured since");
}

#[test]
fn who_is_trusted_less_cannot_uncover_what_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let (mut values, mut masks) = (LookValues::default(), MaskSettings::load(dir.path()));
    let configured = masked(corner());
    let mut set =
        |wanted: Vec<Area>| change((&mut values, &mut masks), LookChange::Masks(wanted), &configured, false);
    for less in [vec![], vec![area([0.0, 0.0, 0.1, 0.1])], vec![area([0.5, 0.5, 0.1, 0.1])]] {
        assert!(set(less).unwrap_err().contains("camera.mask"));
    }
    assert_eq!(set(vec![area([0.9, 0.9, 0.1, 0.1]), area([0.0, 0.0, 0.3, 0.3])]), Ok(()));
    assert_eq!(look(&values, &masks, &configured).masks.len(), 2);
}

#[test]
fn rectangles_stay_on_what_they_cover_when_the_picture_is_turned() {
    let dir = tempfile::tempdir().unwrap();
    let (mut values, mut masks) = (LookValues::default(), MaskSettings::load(dir.path()));
    let configured = PictureLook { rotation: Some(Rotation::Half), ..PictureLook::default() };
    let mut set = |what| {
        change((&mut values, &mut masks), what, &configured, true).unwrap();
        look(&values, &masks, &configured)
    };
    let seen = set(LookChange::Masks(vec![corner()]));
    assert_eq!(seen.masks, [area([0.8, 0.9, 0.2, 0.1])], "as the camera delivers it");
    set(LookChange::Crop(Some(corner())));
    let turned = set(LookChange::Rotate(Rotation::None));
    assert_eq!((turned.masks, turned.crop), (seen.masks, Some(area([0.8, 0.9, 0.2, 0.1]))));
    assert_eq!(set(LookChange::Crop(None)).crop, None);
}

#[test]
fn what_was_set_goes_before_what_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let masks = MaskSettings::load(dir.path());
    let configured = PictureLook {
        rotation: Some(Rotation::Half),
        mirror: Some(true),
        crop: Some(corner()),
        overlay: Overlay::new("configured").unwrap(),
        ..PictureLook::default()
    };
    assert_eq!(look(&LookValues::default(), &masks, &configured), configured);
    let text = r#"{"rotate":90,"mirror":false,"crop":[],"overlay":"","scene":"night"}"#;
    let values: LookValues = serde_json::from_str(text).unwrap();
    let look = look(&values, &masks, &configured);
    assert_eq!((look.rotation, look.mirror), (Some(Rotation::Quarter), Some(false)));
    assert_eq!((look.crop, look.overlay, look.scene.as_deref()), (None, None, Some("night")));
    assert_eq!(
        serde_json::to_value(&values).unwrap(),
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    );
    let nonsense = LookValues { overlay: Some("%Q".into()), ..LookValues::default() };
    assert_eq!(nonsense.checked().overlay, None);
}
