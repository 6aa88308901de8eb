//! What those who watch are told, and when.

use super::*;
use crate::media::capture::camera::PRIVACY_CONTROL;
use crate::media::capture::control::ControlType;
use crate::media::error::CameraTrouble;

/// A camera with a privacy switch of its own.
fn with_switch(is_on: bool) -> Arc<CameraInfo> {
    let switch = ControlInfo {
        id: PRIVACY_CONTROL,
        name: "privacy".into(),
        kind: ControlType::Bool,
        min: 0,
        max: 1,
        step: 1,
        default: 0,
        value: Some(i64::from(is_on)),
        menu: std::collections::BTreeMap::new(),
        read_only: true,
        inactive: false,
    };
    Arc::new(CameraInfo { controls: vec![switch], ..CameraInfo::clone(&camera()) })
}

fn trouble(world: &World) -> Option<CameraTrouble> {
    world.status.borrow().trouble.clone()
}

#[test]
fn that_it_starts_is_said_before_the_driver_takes_its_time() {
    let mut world = World::new(Some(camera()), true);
    world.go_live();
    world.machine.borrow_mut().is_plugged = false;
    world.tell(Message::DeviceChanged);
    world.machine.borrow_mut().is_plugged = true;
    world.tell(Message::DeviceChanged);
    assert_eq!(world.machine.borrow().states_at_starts, [CameraState::Starting; 2]);
}

#[test]
fn why_another_encoder_takes_over_is_said_until_there_is_a_picture() {
    let mut world = World::new(Some(camera()), true);
    // One of the board, and after it one in software.
    world.machine.borrow_mut().encoder = 0;
    world.tell(Message::Restart);
    world.tell(Message::Mode(None, None));
    world.go_live();
    let (_, run) = *world.machine.borrow().runs.last().unwrap();
    let error = MediaError::Encoder { encoder: TABLE[0].name, reason: "it hangs".into() };
    world.tell(Message::Pipeline(Rendition::Full, run, PipelineEvent::Failed { error, by_encoder: true }));
    assert_eq!((world.state(), trouble(&world)), (CameraState::Starting, Some(CameraTrouble::Encoder)));
    assert_eq!(world.status.borrow().error, None, "nothing that its owner has to do");
    world.pass(ms(2000));
    assert_eq!(trouble(&world), Some(CameraTrouble::Encoder));
    world.go_live();
    assert_eq!(trouble(&world), None);
}

#[test]
fn a_camera_whose_own_privacy_switch_is_on_is_closed_and_comes_back_with_it() {
    let mut world = World::new(Some(with_switch(false)), true);
    world.go_live();
    world.machine.borrow_mut().camera = Some(with_switch(true));
    world.machine.borrow_mut().done.clear();
    world.pass(ms(1000));
    assert_eq!((world.state(), trouble(&world)), (CameraState::Error, Some(CameraTrouble::Shuttered)));
    assert!(world.machine.borrow().done.contains(&"stop"), "nothing but black would come out");
    let starts = world.machine.borrow().starts_at.len();
    world.pass(MINUTE);
    assert_eq!(world.machine.borrow().starts_at.len(), starts, "not tried against its will");
    world.machine.borrow_mut().camera = Some(with_switch(false));
    world.pass(ms(3000));
    assert_eq!((world.state(), trouble(&world)), (CameraState::Starting, None));
    world.go_live();
}

#[test]
fn a_privacy_switch_that_was_on_before_somebody_comes_is_said_too() {
    let mut world = World::new(Some(with_switch(true)), true);
    world.tell(Message::Demand(1));
    assert_eq!((world.state(), trouble(&world)), (CameraState::Error, Some(CameraTrouble::Shuttered)));
    assert!(world.machine.borrow().starts_at.is_empty());
    assert!(world.status.borrow().camera.is_some(), "its controls can still be set");
}
