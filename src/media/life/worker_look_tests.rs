//! Another look while somebody watches.

use tokio::sync::oneshot;

use super::*;
use crate::media::look::PictureLook;
use crate::media::look::area::Area;

fn masked() -> Message {
    let look = PictureLook { masks: vec![Area::ALL], ..PictureLook::default() };
    Message::Look(Box::new(look), oneshot::channel().0)
}

#[test]
fn what_the_camera_encodes_is_not_shown_while_a_mode_that_can_be_masked_is_looked_for() {
    let mut world = World::new(Some(camera()), true);
    world.machine.borrow_mut().passes_through = true;
    world.tell(Message::Restart);
    world.tell(Message::Mode(None, None));
    world.go_live();
    let runs = world.machine.borrow().runs.len();
    {
        let mut machine = world.machine.borrow_mut();
        machine.done.clear();
        machine.passes_through = false;
    }
    world.tell(masked());
    let done = world.machine.borrow().done.clone();
    let at = |what: &str| done.iter().position(|done| *done == what);
    assert!(at("look") < at("stop") && at("stop") < at("plan"), "{done:?}");
    assert!(at("stop").is_some() && world.machine.borrow().runs.len() > runs, "it shows again, masked");
}

#[test]
fn a_running_picture_is_masked_without_a_pause() {
    let mut world = World::new(Some(camera()), true);
    world.go_live();
    world.machine.borrow_mut().done.clear();
    world.tell(masked());
    let done = world.machine.borrow().done.clone();
    assert!(done.first() == Some(&"look") && !done.contains(&"stop"), "{done:?}");
    assert_eq!(world.state(), CameraState::Live);
    assert_eq!(world.status.borrow().look.masks, [Area::ALL]);
}

#[test]
fn under_masks_the_camera_is_not_turned_by_its_controls() {
    let mut world = World::new(Some(camera()), true);
    let mut set = |name: &str| {
        let (reply, mut answer) = oneshot::channel();
        world.tell(Message::Control(name.into(), "1".into(), reply));
        answer.try_recv().unwrap().map_err(|error| error.to_string())
    };
    assert!(set("horizontal_flip").is_ok());
    let mut world = World::new(Some(camera()), true);
    world.tell(masked());
    let mut set = |name: &str| {
        let (reply, mut answer) = oneshot::channel();
        world.tell(Message::Control(name.into(), "1".into(), reply));
        answer.try_recv().unwrap().map_err(|error| error.to_string())
    };
    for flip in ["horizontal_flip", "vertical_flip"] {
        assert!(set(flip).unwrap_err().contains("set/rotate"));
    }
    assert!(set("brightness").is_ok());
}
