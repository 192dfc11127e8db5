// What a program with franz-go sees of a broker, told in lines. The same story on two brokers has the same lines.
//
// Usage: franz HOST:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic      = "franz"
	group      = "franz-readers"
	patience   = time.Minute
	partitions = 3
)

func must(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

// The name of a broker's error, or what else it is.
func name(err error) string {
	var broker *kerr.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &broker):
		return broker.Message
	default:
		return err.Error()
	}
}

func client(broker string, options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(broker), kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
	must("a client", err)
	return made
}

func record(partition int32, key, value string) *kgo.Record {
	headers := []kgo.RecordHeader{{Key: "h", Value: []byte(key)}, {Key: "h", Value: nil}}
	return &kgo.Record{Topic: topic, Partition: partition, Key: []byte(key), Value: []byte(value), Headers: headers, Timestamp: time.UnixMilli(1_000_000)}
}

// Reads until so many records came and prints them in order of partition and offset.
func read(ctx context.Context, what string, from *kgo.Client, count int) {
	var lines []string
	for len(lines) < count {
		fetches := from.PollFetches(ctx)
		must(what, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, fmt.Sprintf("%s=%q", h.Key, h.Value))
			}
			lines = append(lines, fmt.Sprintf("%d@%03d %s=%.40s %d bytes, %s, at %d (%d)", r.Partition, r.Offset, r.Key, r.Value, len(r.Value),
				strings.Join(headers, ","), r.Timestamp.UnixMilli(), r.Attrs.TimestampType()))
		})
	}
	sort.Strings(lines)
	fmt.Printf("%s: %d\n  %s\n", what, len(lines), strings.Join(lines, "\n  "))
}

func offsets(what string, listed kadm.ListedOffsets, err error) {
	must(what, err)
	for _, partition := range listed.Offsets().Sorted() {
		fmt.Printf("%s: %d is %d\n", what, partition.Partition, partition.At)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	broker := os.Args[1]
	plain := client(broker)
	defer plain.Close()
	admin := kadm.NewClient(plain)

	short := "1000000"
	created, err := admin.CreateTopic(ctx, partitions, 1, map[string]*string{"max.message.bytes": &short}, topic)
	fmt.Println("create:", name(errors.Join(err, created.Err)))
	created, _ = admin.CreateTopic(ctx, partitions, 1, nil, topic)
	fmt.Println("create again:", name(created.Err))
	listed, err := admin.ListTopics(ctx, topic)
	must("list", err)
	fmt.Println("partitions:", len(listed[topic].Partitions))

	total := 0
	for codec, compression := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		producer := client(broker, kgo.ProducerBatchCompression(compression))
		partition := int32(map[string]int{"none": 0, "gzip": 0, "snappy": 1, "lz4": 1, "zstd": 2}[codec])
		if codec == "gzip" || codec == "lz4" {
			partition = 2
		}
		for i := range 5 {
			_, err := producer.ProduceSync(ctx, record(partition, fmt.Sprint(i), strings.Repeat(fmt.Sprintf("value %d ", i), 1+i*100))).First()
			must(codec, err)
			total++
		}
		producer.Close()
	}
	producer := client(broker)
	_, err = producer.ProduceSync(ctx, record(0, "large", strings.Repeat("x", 1_000_001))).First()
	fmt.Println("too large:", name(err))
	_, err = producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: 7, Value: []byte("x")}).First()
	fmt.Println("no such partition:", err != nil)
	producer.Close()

	end, err := admin.ListEndOffsets(ctx, topic)
	offsets("end", end, err)
	reader := client(broker, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	counts := map[int32]int{}
	seen := 0
	for seen < total {
		fetches := reader.PollFetches(ctx)
		must("group", fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { counts[r.Partition]++; seen++ })
	}
	fmt.Println("group read:", counts)
	must("commit", reader.CommitUncommittedOffsets(ctx))
	described, err := admin.DescribeGroups(ctx, group)
	must("describe", err)
	d := described[group]
	fmt.Println("group:", d.State, d.ProtocolType, d.Protocol, len(d.Members), name(d.Err))
	reader.Close()
	lags, err := admin.Lag(ctx, group)
	must("lag", err)
	fmt.Println("lag:", lags[group].Lag.Total(), lags[group].State)

	for _, commit := range []bool{true, false} {
		transactional := client(broker, kgo.TransactionalID("franz-transaction"))
		must("begin", transactional.BeginTransaction())
		for i := range 3 {
			_, err := transactional.ProduceSync(ctx, record(0, fmt.Sprint(i), fmt.Sprintf("transaction %v", commit))).First()
			must("in a transaction", err)
		}
		must("end", transactional.EndTransaction(ctx, kgo.TransactionEndTry(commit)))
		transactional.Close()
	}
	// A broker may answer the end of a transaction before its markers are written.
	var committed kadm.ListedOffsets
	for committed.Offsets()[topic][0].At != 13 {
		committed, err = admin.ListCommittedOffsets(ctx, topic)
		must("committed", err)
	}
	offsets("committed", committed, err)
	at := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(5)}}
	whole := client(broker, kgo.ConsumePartitions(at), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	read(ctx, "read committed", whole, 3)
	whole.Close()
	all := client(broker, kgo.ConsumePartitions(at))
	read(ctx, "read uncommitted", all, 6)
	all.Close()
	zstd := client(broker, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {1: kgo.NewOffset().AtStart()}}))
	read(ctx, "snappy", zstd, 5)
	zstd.Close()

	first := newClientFenced(ctx, broker)
	fmt.Println("fenced:", first)

	deleted, err := admin.DeleteRecords(ctx, kadm.Offsets{topic: {0: {Topic: topic, Partition: 0, At: 4}}})
	must("delete records", err)
	for _, response := range deleted.Sorted() {
		fmt.Println("deleted:", response.Partition, response.LowWatermark, name(response.Err))
	}
	start, err := admin.ListStartOffsets(ctx, topic)
	offsets("start", start, err)
	early := client(broker, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	read(ctx, "from the start", early, 1)
	early.Close()

	value := "12345"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, topic)
	must("alter", err)
	fmt.Println("altered:", name(altered[0].Err))
	wrong := "soon"
	altered, err = admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &wrong}}, topic)
	must("alter wrongly", err)
	fmt.Println("altered wrongly:", name(altered[0].Err), altered[0].ErrMessage)
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	must("configs", err)
	sort.Slice(configs[0].Configs, func(i, j int) bool { return configs[0].Configs[i].Key < configs[0].Configs[j].Key })
	for _, config := range configs[0].Configs {
		if config.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			fmt.Println("config:", config.Key, config.MaybeValue())
		}
	}
	gone, err := admin.DeleteGroups(ctx, group, "no-such-group")
	must("delete groups", err)
	for _, group := range []string{group, "no-such-group"} {
		fmt.Println("group deleted:", group, name(gone[group].Err))
	}
	removed, err := admin.DeleteTopics(ctx, topic, "no-such-topic")
	must("delete topics", err)
	for _, topic := range []string{topic, "no-such-topic"} {
		fmt.Println("topic deleted:", topic, name(removed[topic].Err))
	}
}

// Two producers of one transactional id: the older one learns that it is over.
func newClientFenced(ctx context.Context, broker string) string {
	older := client(broker, kgo.TransactionalID("franz-fenced"))
	defer older.Close()
	must("older", older.BeginTransaction())
	_, err := older.ProduceSync(ctx, record(1, "old", "1")).First()
	must("older", err)
	newer := client(broker, kgo.TransactionalID("franz-fenced"))
	defer newer.Close()
	must("newer", newer.BeginTransaction())
	_, err = newer.ProduceSync(ctx, record(1, "new", "1")).First()
	must("newer", err)
	err = older.EndTransaction(ctx, kgo.TryCommit)
	must("newer", newer.EndTransaction(ctx, kgo.TryCommit))
	return name(err)
}
