//! The scheduler: starts each action when what it needs is there, the longest remaining path first.
//!
//! One thread decides; each running action has a thread of its own that only waits for its process. An action that
//! the cache knows is finished at once, without a token of the jobserver. An action that needs nothing but the
//! metadata of another starts when that is announced (pipelining). Actions are bound as late as possible, so that a
//! change that leaves an output as it was stops there.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::execute::bind::{BindError, BoundAction, Known, bind};
use crate::execute::jobserver::Pipe;
use crate::execute::outcome::{Outcome, OutputEntry};
use crate::execute::{ActionEvent, ActionFailure, Executor, Observer, Source};
use crate::path::SandboxPath;
use crate::plan::graph::{ActionGraph, ActionIndex, Needs};
use crate::tree::{Directory, TreeRef};

/// How a build is scheduled.
#[derive(Debug)]
pub struct ScheduleOptions<'a> {
    /// The jobserver that rustc and build scripts share with the scheduler. It hands out one token less than there
    /// are jobs; the last one is the scheduler's own.
    pub jobserver: &'a jobserver::Client,
    /// Whether actions that do not depend on a failed one go on.
    pub keep_going: bool,
    /// Whether the graph can be scheduled again if the store has lost something; else that fails the action.
    pub may_repeat: bool,
    /// Set when the user interrupts.
    pub interrupted: &'a AtomicBool,
    /// The top levels of the system trees.
    pub system_roots: &'a BTreeMap<TreeRef, Arc<Directory>>,
}

/// How a build ended.
#[derive(Debug, Default)]
pub struct Summary {
    /// The outcome of each action that succeeded, by index.
    pub outcomes: Vec<Option<Arc<Outcome>>>,
    /// The keys of the actions that were bound.
    pub keys: Vec<Option<crate::digest::ActionKey>>,
    /// How many actions ran.
    pub executed: usize,
    /// How many were known already.
    pub cached: usize,
    /// Whether something that the store was believed to have was lost or damaged: it is not believed any more, so that
    /// scheduling the same graph again makes it again.
    pub lost: bool,
    /// The actions that failed.
    pub failed: Vec<ActionIndex>,
    /// Whether the user interrupted.
    pub interrupted: bool,
}

/// Why scheduling itself stopped; a failed action is not an error but part of the [`Summary`].
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// An action could not be bound.
    #[error("`{label}` cannot be prepared")]
    Bind {
        /// The action.
        label: String,
        /// Why.
        #[source]
        source: BindError,
    },
    /// The jobserver does not work.
    #[error("the jobserver failed")]
    Jobserver(#[source] std::io::Error),
}

impl ScheduleError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            ScheduleError::Bind { .. } => None,
            ScheduleError::Jobserver(_) => {
                Some("look whether the process may open more files (`ulimit -n`)".to_owned())
            }
        }
    }
}

enum Message {
    Token(std::io::Result<jobserver::Acquired>),
    Event(ActionIndex, ActionEvent),
    Metadata(ActionIndex, String, OutputEntry),
    Done(ActionIndex, Box<Result<Outcome, ActionFailure>>),
}

/// What a running action reports through.
pub struct Sink {
    action: ActionIndex,
    sender: Sender<Message>,
}

impl Sink {
    /// Something to tell the user.
    pub fn event(&self, event: ActionEvent) {
        // The receiver is gone only when the build has been given up.
        let _ = self.sender.send(Message::Event(self.action, event));
    }

    /// The metadata is complete while code is still being generated.
    pub fn metadata(&self, name: &str, entry: OutputEntry) {
        let _ = self
            .sender
            .send(Message::Metadata(self.action, name.to_owned(), entry));
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({})", self.action.0)
    }
}

struct State<'a> {
    graph: &'a ActionGraph,
    system_roots: &'a BTreeMap<TreeRef, Arc<Directory>>,
    outcomes: Vec<Option<Arc<Outcome>>>,
    /// Outcomes of which only the metadata is there yet.
    partial: Vec<Option<Outcome>>,
    waiting_for: Vec<usize>,
    dependents: Vec<Vec<(ActionIndex, Needs)>>,
    /// How many actions are on the longest path from each to the end of the build.
    priority: Vec<usize>,
    ready: BinaryHeap<(usize, std::cmp::Reverse<ActionIndex>)>,
}

impl Known for State<'_> {
    fn outcome(&self, action: ActionIndex) -> Option<&Outcome> {
        self.outcomes[action.0]
            .as_deref()
            .or(self.partial[action.0].as_ref())
    }

    fn out_dir(&self, action: ActionIndex) -> &SandboxPath {
        &self.graph.action(action).output_directory
    }

    fn system_root(&self, tree: TreeRef) -> Option<Arc<Directory>> {
        self.system_roots.get(&tree).cloned()
    }
}

impl<'a> State<'a> {
    fn new(graph: &'a ActionGraph, options: &'a ScheduleOptions<'_>) -> Self {
        let count = graph.actions.len();
        let mut dependents = vec![Vec::new(); count];
        for (index, action) in graph.actions.iter().enumerate() {
            for (dependency, needs) in &action.dependencies {
                dependents[dependency.0].push((ActionIndex(index), *needs));
            }
        }
        // Dependents come after what they depend on, so one pass from the end sees every path.
        let mut priority = vec![0; count];
        for index in (0..count).rev() {
            let longest = dependents[index]
                .iter()
                .map(|(dependent, _)| priority[dependent.0])
                .max();
            priority[index] = 1 + longest.unwrap_or(0);
        }
        let waiting_for: Vec<usize> = graph
            .actions
            .iter()
            .map(|action| action.dependencies.len())
            .collect();
        let mut state = State {
            graph,
            system_roots: options.system_roots,
            outcomes: vec![None; count],
            partial: vec![None; count],
            waiting_for,
            dependents,
            priority,
            ready: BinaryHeap::new(),
        };
        for index in 0..count {
            if state.waiting_for[index] == 0 {
                state.push_ready(ActionIndex(index));
            }
        }
        state
    }

    fn push_ready(&mut self, action: ActionIndex) {
        self.ready
            .push((self.priority[action.0], std::cmp::Reverse(action)));
    }

    /// Tells dependents that `action` has come as far as `reached`; `before` is how far they knew it was.
    fn advance(&mut self, action: ActionIndex, reached: Needs, before: Option<Needs>) {
        let freed: Vec<ActionIndex> = self.dependents[action.0]
            .iter()
            .filter(|(_, needs)| *needs <= reached && before.is_none_or(|before| *needs > before))
            .map(|(dependent, _)| *dependent)
            .collect();
        for dependent in freed {
            self.waiting_for[dependent.0] -= 1;
            if self.waiting_for[dependent.0] == 0 {
                self.push_ready(dependent);
            }
        }
    }

    fn metadata(&mut self, action: ActionIndex, name: String, entry: OutputEntry) {
        if self.outcomes[action.0].is_none() && self.partial[action.0].is_none() {
            let mut outcome = Outcome::default();
            outcome.files.insert(name, entry);
            self.partial[action.0] = Some(outcome);
            self.advance(action, Needs::Metadata, None);
        }
    }

    fn finish(&mut self, action: ActionIndex, outcome: Outcome) {
        let before = self.partial[action.0].take().map(|_| Needs::Metadata);
        self.outcomes[action.0] = Some(Arc::new(outcome));
        self.advance(action, Needs::Everything, before);
    }
}

/// Runs all actions of `graph` that are not known already.
pub fn run(
    graph: &ActionGraph,
    executor: &dyn Executor,
    observer: &mut dyn Observer,
    options: &ScheduleOptions<'_>,
) -> Result<Summary, ScheduleError> {
    let (sender, receiver) = channel();
    let tokens = sender.clone();
    let pipe = Pipe::of(options.jobserver).map_err(ScheduleError::Jobserver)?;
    let helper = options
        .jobserver
        .clone()
        .into_helper_thread(move |token| {
            let _ = tokens.send(Message::Token(token));
        })
        .map_err(ScheduleError::Jobserver)?;
    let result = std::thread::scope(|scope| {
        let start = |bound: BoundAction<'_>, index: ActionIndex| {
            let sink = Sink {
                action: index,
                sender: sender.clone(),
            };
            let planned = graph.action(index);
            let BoundAction {
                key,
                argv,
                environment,
                inputs,
                ..
            } = bound;
            scope.spawn(move || {
                let bound = BoundAction {
                    planned,
                    key,
                    argv,
                    environment,
                    inputs,
                };
                let result = executor.execute(&bound, &sink);
                let _ = sink.sender.send(Message::Done(index, Box::new(result)));
            });
        };
        drive(
            graph,
            executor,
            observer,
            options,
            &receiver,
            &Means {
                pipe: &pipe,
                request_token: &|| helper.request_token(),
                start: &start,
            },
        )
    });
    // Tokens that came too late. Dropping one would wait for a pipe that somebody filled.
    drop(helper);
    for message in receiver.try_iter() {
        if let Message::Token(Ok(token)) = message {
            pipe.give_back(token);
        }
    }
    result
}

/// What the scheduler acts through.
struct Means<'a> {
    pipe: &'a Pipe<'a>,
    /// Asks for a token, which comes as a message.
    request_token: &'a dyn Fn(),
    /// Starts an action in a thread of its own.
    start: &'a dyn Fn(BoundAction<'_>, ActionIndex),
}

fn drive(
    graph: &ActionGraph,
    executor: &dyn Executor,
    observer: &mut dyn Observer,
    options: &ScheduleOptions<'_>,
    receiver: &Receiver<Message>,
    means: &Means<'_>,
) -> Result<Summary, ScheduleError> {
    let mut state = State::new(graph, options);
    let mut summary = Summary {
        keys: vec![None; graph.actions.len()],
        ..Summary::default()
    };
    let mut queue: BinaryHeap<(usize, std::cmp::Reverse<ActionIndex>)> = BinaryHeap::new();
    let mut bound_actions: BTreeMap<ActionIndex, BoundAction<'_>> = BTreeMap::new();
    let mut tokens = Vec::new();
    let mut running = 0usize;
    let mut failure: Option<ScheduleError> = None;
    loop {
        let stopped = summary.interrupted
            || summary.lost
            || failure.is_some()
            || (!summary.failed.is_empty() && !options.keep_going);
        while !stopped && let Some((priority, index)) = state.ready.pop() {
            let action = index.0;
            let bound = match bind(graph.action(action), &state) {
                Ok(bound) => bound,
                Err(source) => {
                    let label = graph.action(action).label.clone();
                    failure = Some(ScheduleError::Bind { label, source });
                    break;
                }
            };
            summary.keys[action.0] = Some(bound.key);
            match executor.lookup(&bound) {
                Some(outcome) => {
                    summary.cached += 1;
                    observer.finished(action, &outcome, Source::Cache);
                    state.finish(action, outcome);
                }
                None => {
                    bound_actions.insert(action, bound);
                    queue.push((priority, index));
                    (means.request_token)();
                }
            }
        }
        if stopped {
            queue.clear();
        }
        while failure.is_none()
            && running <= tokens.len()
            && let Some((_, std::cmp::Reverse(action))) = queue.pop()
            && let Some(bound) = bound_actions.remove(&action)
        {
            observer.started(action);
            (means.start)(bound, action);
            running += 1;
        }
        let needed = running.saturating_sub(1).min(tokens.len());
        tokens
            .drain(needed..)
            .for_each(|token| means.pipe.give_back(token));
        means.pipe.take_surplus(tokens.len());
        observer.progress(running, queue.len());
        if running == 0 {
            break;
        }
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(Message::Token(token)) => match token {
                Ok(token) => tokens.push(token),
                Err(error) => failure = Some(ScheduleError::Jobserver(error)),
            },
            Ok(Message::Event(action, event)) => observer.event(action, event),
            Ok(Message::Metadata(action, name, entry)) => state.metadata(action, name, entry),
            Ok(Message::Done(action, result)) => {
                running -= 1;
                match *result {
                    Ok(outcome) => {
                        summary.executed += 1;
                        observer.finished(action, &outcome, Source::Execution);
                        state.finish(action, outcome);
                    }
                    Err(ActionFailure::Interrupted) => summary.interrupted = true,
                    Err(ActionFailure::Store(error)) if error.is_miss() && options.may_repeat => {
                        summary.lost = true;
                    }
                    Err(error) => {
                        summary.failed.push(action);
                        observer.failed(action, &error, running);
                    }
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if options.interrupted.load(Ordering::Relaxed) && !summary.interrupted {
            summary.interrupted = true;
            executor.interrupt();
        }
    }
    summary.outcomes = state.outcomes;
    failure.map_or(Ok(summary), Err)
}
