//! How this program ends: by a code, or as the command did.

use std::process::ExitCode;

use nix::unistd::getpid;
use rlimit::Resource;
use signal_hook::low_level::emulate_default_handler;

use super::child::{How, exit_code};

/// How to end.
#[derive(Clone, Copy, Debug)]
pub enum Leave {
    /// With a code.
    With(ExitCode),
    /// By the signal of this number. Shells end a loop or a script only for whoever died of Ctrl-C.
    By(i32),
}

impl<T: Into<ExitCode>> From<T> for Leave {
    fn from(code: T) -> Self {
        Leave::With(code.into())
    }
}

impl From<How> for Leave {
    fn from(how: How) -> Self {
        match how {
            How::Exited(code) => Leave::With(code.into()),
            How::Killed(signal) => Leave::By(signal),
        }
    }
}

impl Leave {
    /// Ends by a signal if it is to be, and else, or if that can't be, answers the code.
    pub fn leave(self) -> ExitCode {
        match self {
            Leave::With(code) => code,
            Leave::By(signal) => {
                // The system lets no signal end the first process of a container.
                if getpid().as_raw() != 1 {
                    // The core would be this program's, and not the command's.
                    let most = rlimit::getrlimit(Resource::CORE).map_or(0, |(_, most)| most);
                    let _ = rlimit::setrlimit(Resource::CORE, 0, most);
                    let _ = emulate_default_handler(signal);
                }
                exit_code(signal).into()
            }
        }
    }
}
