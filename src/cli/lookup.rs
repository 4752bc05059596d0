pub(super) use super::check::Arguments;
pub(super) fn run(_: &Arguments) -> super::Exit {
    super::Exit::Failed
}
