//! Sets the camera's controls as a scene has them.

use std::future::Future;

use crate::config::Scene;
use crate::media::MediaError;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SceneOutcome {
    /// The controls that were set, and the values that they have now.
    pub set: Vec<(String, i64)>,
    /// Why it is not all in force, in words.
    pub failed: Option<String>,
}

/// Has `set` set each control of `scene`. What fails does not keep the others from being set.
pub(super) async fn choose<F>(scene: &Scene, set: impl Fn(String, String) -> F) -> SceneOutcome
where
    F: Future<Output = Result<i64, MediaError>>,
{
    let mut outcome = SceneOutcome { set: Vec::new(), failed: None };
    // Twice: a control that another one overrides (exposure under automatic exposure) takes its value afterwards.
    for _ in 0..2 {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (name, value) in scene {
            match set(name.clone(), value.clone()).await {
                Ok(value) => done.push((name.clone(), value)),
                Err(error) => failed.push(error.to_string()),
            }
        }
        let failed = (!failed.is_empty()).then(|| failed.join("; "));
        outcome = SceneOutcome { set: done, failed };
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn scene(controls: &[(&str, &str)]) -> Scene {
        controls.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn refused(control: &str) -> MediaError {
        MediaError::Control { control: control.to_owned(), reason: "it is overridden".to_owned() }
    }

    #[tokio::test]
    async fn a_control_that_another_one_overrides_is_set_all_the_same() {
        let is_manual = RefCell::new(false);
        let set = async |name: String, value: String| {
            if name == "manual_exposure" {
                is_manual.replace(true);
            } else if !*is_manual.borrow() {
                return Err(refused(&name));
            }
            Ok(value.parse().unwrap_or(1))
        };
        let night = scene(&[("exposure", "500"), ("manual_exposure", "ON")]);
        let outcome = choose(&night, set).await;
        let expected = vec![("exposure".to_owned(), 500), ("manual_exposure".to_owned(), 1)];
        assert_eq!(outcome, SceneOutcome { set: expected, failed: None });
    }

    #[tokio::test]
    async fn what_fails_is_told_and_the_rest_is_set() {
        let set = async |name: String, _: String| if name == "gain" { Ok(3) } else { Err(refused(&name)) };
        let outcome = choose(&scene(&[("gain", "3"), ("hue", "1")]), set).await;
        assert_eq!(outcome.set, [("gain".to_owned(), 3)]);
        assert!(outcome.failed.is_some_and(|words| words.contains("hue") && !words.contains("gain")));
    }
}
